//! Weather and satellites.

use serde_json::json;

use super::{super::producers::*, *};

pub(super) fn all() -> Vec<Spec> {
    vec![
        Spec::new("weather-stations-raw@2025", WEATHER, 3, "Station observations 2025, raw")
            .about("Ten-minute readings of 2,140 synoptic stations as received, gaps and sensor faults included.")
            .file(CSV, 41_803_552_190)
            .tags(&["weather", "observations", "raw", "time-series"])
            .content(table(112_478_400, 6.42, 0.31, 0.998)),
        Spec::new("weather-reanalysis@1", WEATHER, 4, "Regional reanalysis 2000–2025")
            .about("Hourly model reanalysis on a 5 km grid: temperature, wind, humidity, radiation and precipitation.")
            .file(NETCDF, 812_004_770_816)
            .tags(&["weather", "reanalysis", "grid"])
            .content(json!({ "ontologyTags": ["cf:air_temperature", "cf:wind_speed"] })),
        Spec::new("weather-stations-clean@2025", WEATHER, 11, "Station observations 2025, quality controlled")
            .about("Range, step and neighbour checks applied; flagged readings removed. Superseded: see 2025.1.")
            .file(PARQUET, 9_622_118_400)
            .tags(&["weather", "observations", "cleaned", "time-series"])
            .from(&["weather-stations-raw@2025"], &["range-check", "neighbour-check"])
            .content(table(105_211_037, 1.12, 0.09, 0.999)),
        Spec::new("weather-stations-clean@2025.1", WEATHER, 24, "Station observations 2025, revision 1")
            .about("As 2025, with the summer-time shift of 37 stations corrected.")
            .file(PARQUET, 9_622_340_992)
            .tags(&["weather", "observations", "cleaned", "time-series"])
            .from(&["weather-stations-raw@2025"], &["range-check", "neighbour-check", "time-zone-correction"])
            .content(table(105_213_880, 1.11, 0.08, 0.999)),
        Spec::new("weather-gridded@1", WEATHER, 33, "Gridded hourly weather 2025")
            .about("Station readings blended with the reanalysis by optimal interpolation, 5 km, hourly.")
            .file(NETCDF, 31_744_901_120)
            .tags(&["weather", "grid", "features"])
            .from(&["weather-stations-clean@2025.1", "weather-reanalysis@1"], &["optimal-interpolation"])
            .content(
                json!({ "rowCount": 350_400_000, "nullValuePercentage": 0, "ontologyTags": ["cf:air_temperature"] }),
            ),
        Spec::new("wind-features@1", WEATHER, 47, "Wind power features")
            .about("Hub-height wind, density and turbulence at 6,300 turbine sites.")
            .file(PARQUET, 2_204_118_016)
            .tags(&["weather", "energy", "features", "wind"])
            .from(&["weather-gridded@1"], &["hub-height-extrapolation"])
            .content(json!({ "featureSetId": "wind-v1", "rowCount": 55_188_000, "nullValuePercentage": 0.02 })),
        Spec::new("optical-scenes-raw@2026-02", SATELLITE, 36, "Optical scenes, winter 2026, level 1")
            .about("8,412 top-of-atmosphere scenes at 3 m in four bands, with acquisition metadata.")
            .file(GEOTIFF, 2_904_118_272_000)
            .terms("LicenseRef-Halcyon-Commercial", "internal")
            .tags(&["satellite", "imagery", "raw"])
            .content(json!({ "rowCount": 8_412 })),
        Spec::new("optical-surface@1", SATELLITE, 44, "Optical surface reflectance, winter 2026")
            .about("Atmospheric correction and cloud mask for the level 1 scenes.")
            .file(GEOTIFF, 2_411_006_099_456)
            .terms("LicenseRef-Halcyon-Commercial", "internal")
            .tags(&["satellite", "imagery", "cleaned"])
            .from(&["optical-scenes-raw@2026-02"], &["atmospheric-correction", "cloud-mask"])
            .content(json!({ "rowCount": 7_906 })),
        Spec::new("optical-mosaic@1", SATELLITE, 52, "Cloud-free mosaic, winter 2026")
            .about("Best-pixel mosaic of the surface reflectance scenes, one tile per 10 km.")
            .file(GEOTIFF, 604_112_880_640)
            .terms("CC-BY-SA-4.0", "public")
            .tags(&["satellite", "imagery", "mosaic"])
            .from(&["optical-surface@1"], &["best-pixel-composite"])
            .content(json!({ "rowCount": 41_020 })),
        Spec::new("landcover-labels@1", SATELLITE, 66, "Land cover training labels")
            .about("1.2 million labelled patches in eleven classes; roads and buildings pre-labelled from map data.")
            .file(PARQUET, 18_220_941_312)
            .terms("ODbL-1.0", "public")
            .tags(&["satellite", "land-cover", "labels", "features"])
            .from(&["optical-mosaic@1", "osm-roads@2026-01"], &["patch-extraction", "label-transfer"])
            .content(features("landcover-v1", 1_204_551, 0.0, 0.07, 0.981)),
        Spec::new("landcover-split@1", SATELLITE, 71, "Land cover split")
            .about("Spatially blocked split of the labelled patches; no tile is in two parts.")
            .file(JSON, 48_211_776)
            .terms("ODbL-1.0", "public")
            .tags(&["land-cover", "split"])
            .from(&["landcover-labels@1"], &["spatial-block-split"])
            .content(split("landcover-v1", 1_204_551, 70, 15)),
        Spec::new("landcover-model@1", SATELLITE, 88, "Land cover segmentation model")
            .about("Convolutional encoder–decoder, 31 million parameters, eleven classes at 3 m.")
            .file(ONNX, 124_882_944)
            .terms("Apache-2.0", "public")
            .tags(&["model", "segmentation", "land-cover"])
            .from(&["landcover-split@1"], &["train"])
            .content(scores(0.06, 0.04)),
        Spec::new("landcover-map@1", SATELLITE, 104, "Land cover map, winter 2026")
            .about("The model applied to the whole mosaic.")
            .file(GEOTIFF, 88_104_599_552)
            .terms("ODbL-1.0", "public")
            .tags(&["satellite", "land-cover", "map"])
            .from(&["landcover-model@1", "optical-mosaic@1"], &["inference", "majority-filter"]),
        Spec::new("landcover-eval@1", EVALUATION, 158, "Land cover model evaluation")
            .about("Independent check of the model on 4,000 field points: overall accuracy 91.3 %.")
            .file(JSON, 1_206_330)
            .tags(&["evaluation", "land-cover"])
            .from(&["landcover-model@1", "landcover-map@1"], &["accuracy-assessment"])
            .content(scores(0.06, 0.05)),
    ]
}
