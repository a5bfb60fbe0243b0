//! People, places, traffic and power.

use serde_json::json;

use super::{super::producers::*, *};

pub(super) fn all() -> Vec<Spec> {
    let mut specs = census_and_maps();
    specs.extend(traffic());
    specs.extend(power());
    specs
}

fn census_and_maps() -> Vec<Spec> {
    vec![
        Spec::new("census-2025-raw@1", STATISTICS, 2, "Census 2025, returns")
            .about("Person and household returns as collected. Access in the safe room only.")
            .file(CSV, 11_804_220_416)
            .terms("LicenseRef-Statistics-Act", "restricted")
            .pii(&["name", "address", "birth_date"])
            .tags(&["census", "population", "raw"])
            .geo("DE")
            .content(table(5_214_880, 7.9, 0.14, 0.99)),
        Spec::new("labour-survey-raw@2026q1", STATISTICS, 48, "Labour force survey 2026 Q1, interviews")
            .about("Quarterly rotating panel, 41,000 interviews.")
            .file(CSV, 214_880_256)
            .terms("LicenseRef-Statistics-Act", "restricted")
            .pii(&["address", "birth_date"])
            .tags(&["labour", "survey", "raw"])
            .geo("DE")
            .content(table(41_118, 9.3, 0.12, 1.0)),
        Spec::new("osm-europe-extract@2026-01", MAPS, 4, "Map extract Europe, January 2026")
            .about("Nodes, ways and relations as of 2026-01-04.")
            .file(PBF, 31_220_884_480)
            .terms("ODbL-1.0", "public")
            .tags(&["map", "openstreetmap", "raw"])
            .content(json!({ "rowCount": 4_118_220_331_i64 })),
        Spec::new("osm-europe-extract@2026-04", MAPS, 93, "Map extract Europe, April 2026")
            .about("Nodes, ways and relations as of 2026-04-03.")
            .file(PBF, 31_804_118_016)
            .terms("ODbL-1.0", "public")
            .tags(&["map", "openstreetmap", "raw"])
            .content(json!({ "rowCount": 4_190_004_118_i64 })),
        Spec::new("osm-roads@2026-01", MAPS, 14, "Road network Europe, January 2026")
            .about("Routable graph with speed limits and turn restrictions.")
            .file(PARQUET, 8_220_411_904)
            .terms("ODbL-1.0", "public")
            .tags(&["map", "roads", "cleaned", "graph"])
            .from(&["osm-europe-extract@2026-01"], &["graph-build", "topology-repair"])
            .content(table(94_118_220, 0.9, 0.03, 1.0)),
        Spec::new("osm-roads@2026-04", MAPS, 98, "Road network Europe, April 2026")
            .about("As January, with segment ids kept stable across the two.")
            .file(PARQUET, 8_304_220_160)
            .terms("ODbL-1.0", "public")
            .tags(&["map", "roads", "cleaned", "graph"])
            .from(&["osm-europe-extract@2026-04", "osm-roads@2026-01"], &["graph-build", "id-matching"])
            .content(table(95_004_551, 0.8, 0.03, 1.0)),
        Spec::new("osm-admin@1", MAPS, 15, "Administrative boundaries")
            .about("Municipalities and districts as closed polygons, harmonised codes.")
            .file("application/geo+json", 1_204_118_528)
            .terms("ODbL-1.0", "public")
            .tags(&["map", "boundaries"])
            .from(&["osm-europe-extract@2026-01"], &["polygonise"])
            .content(table(118_204, 0.0, 0.01, 1.0)),
        Spec::new("census-2025-clean@1", STATISTICS, 23, "Census 2025, edited")
            .about("Duplicates resolved, item non-response imputed, identifiers replaced.")
            .file(PARQUET, 1_904_220_160)
            .terms("LicenseRef-Statistics-Act", "restricted")
            .pii(&["birth_date"])
            .tags(&["census", "population", "cleaned"])
            .geo("DE")
            .from(&["census-2025-raw@1"], &["deduplicate", "impute", "pseudonymise"])
            .content(table(5_198_004, 0.0, 0.06, 1.0))
            .policy(json!({ "anonymization": { "type": "k-anon", "k": 3 } })),
        Spec::new("census-2025-grid@1", STATISTICS, 38, "Census 2025 on a kilometre grid")
            .about("Population, age and household size per cell; small counts perturbed.")
            .file(PARQUET, 204_118_016)
            .terms("CC-BY-4.0", "public")
            .tags(&["census", "population", "grid", "aggregate"])
            .geo("DE")
            .from(&["census-2025-clean@1", "osm-admin@1"], &["aggregate", "cell-key-method"])
            .content(table(361_204, 0.2, 0.04, 1.0))
            .policy(json!({ "anonymization": { "type": "k-anon", "k": 10 } })),
        Spec::new("labour-survey-clean@2026q1", STATISTICS, 62, "Labour force survey 2026 Q1, edited")
            .about("Weighted, imputed and top-coded.")
            .file(PARQUET, 31_220_736)
            .terms("LicenseRef-Statistics-Act", "internal")
            .tags(&["labour", "survey", "cleaned"])
            .geo("DE")
            .from(&["labour-survey-raw@2026q1"], &["weight", "impute", "top-code"])
            .content(table(40_882, 0.0, 0.05, 1.0))
            .policy(json!({ "anonymization": { "type": "k-anon", "k": 5 } })),
        Spec::new("income-features@1", STATISTICS, 74, "Household income features")
            .about("Census and labour survey joined by small area; 64 features.")
            .file(PARQUET, 88_118_272)
            .terms("CC-BY-4.0", "internal")
            .tags(&["income", "features"])
            .geo("DE")
            .from(&["census-2025-grid@1", "labour-survey-clean@2026q1"], &["small-area-join"])
            .content(features("income-v1", 361_180, 0.1, 0.08, 1.0)),
        Spec::new("income-split@1", STATISTICS, 77, "Household income split")
            .about("Districts kept whole.")
            .file(JSON, 4_118_272)
            .terms("CC-BY-4.0", "internal")
            .tags(&["income", "split"])
            .geo("DE")
            .from(&["income-features@1"], &["group-split"])
            .content(split("income-v1", 361_180, 80, 10)),
        Spec::new("income-model@1", STATISTICS, 96, "Small-area income model")
            .about("Gradient-boosted trees; median absolute error 4.1 %.")
            .file(ONNX, 18_204_672)
            .terms("EUPL-1.2", "public")
            .tags(&["model", "income", "small-area"])
            .geo("DE")
            .from(&["income-split@1"], &["train"])
            .content(scores(0.05, 0.02)),
        Spec::new("income-eval@1", EVALUATION, 111, "Income model evaluation")
            .about("Error by region and household type, with confidence bands.")
            .file(JSON, 2_204_118)
            .tags(&["evaluation", "income", "fairness"])
            .from(&["income-model@1"], &["subgroup-analysis"])
            .content(scores(0.06, 0.03)),
    ]
}

fn traffic() -> Vec<Spec> {
    vec![
        Spec::new("transit-feeds-raw@2026-02", MOBILITY, 32, "Timetable feeds, February 2026")
            .about("GTFS feeds of 214 operators as published.")
            .file("application/zip", 4_118_220_288)
            .tags(&["transit", "timetable", "raw"])
            .content(table(48_220_114, 3.2, 0.11, 0.93)),
        Spec::new("trip-counts-raw@1", MOBILITY, 27, "Passenger counts, raw")
            .about("Door sensor counts of 3,100 vehicles, autumn and winter.")
            .file(CSV, 21_884_220_416)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["transit", "counts", "raw", "time-series"])
            .content(table(211_884_220, 5.5, 0.24, 0.97)),
        Spec::new("transit-stops@1", MOBILITY, 43, "Stops on the road network")
            .about("Stops of all feeds merged and snapped to road segments.")
            .file(PARQUET, 61_220_864)
            .terms("ODbL-1.0", "public")
            .tags(&["transit", "stops", "cleaned"])
            .from(&["transit-feeds-raw@2026-02", "osm-roads@2026-01"], &["merge", "map-matching"])
            .content(table(884_220, 0.3, 0.02, 1.0)),
        Spec::new("trip-counts-clean@1", MOBILITY, 45, "Passenger counts, corrected")
            .about("Sensor drift corrected, vehicles matched with trips.")
            .file(PARQUET, 3_204_118_528)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["transit", "counts", "cleaned", "time-series"])
            .from(&["trip-counts-raw@1"], &["drift-correction", "trip-matching"])
            .content(table(188_004_331, 0.7, 0.06, 0.999)),
        Spec::new("demand-features@1", MOBILITY, 68, "Transit demand features")
            .about("Counts per stop and quarter-hour with population and weather around it.")
            .file(PARQUET, 9_118_220_288)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["transit", "features", "demand"])
            .from(
                &["transit-stops@1", "trip-counts-clean@1", "census-2025-grid@1", "weather-gridded@1"],
                &["spatial-join", "aggregate"],
            )
            .content(features("demand-v1", 92_118_004, 0.5, 0.07, 1.0)),
        Spec::new("demand-split@1", MOBILITY, 72, "Transit demand split")
            .about("Split by week; the last four weeks are the test.")
            .file(JSON, 1_118_208)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["transit", "split"])
            .from(&["demand-features@1"], &["temporal-split"])
            .content(split("demand-v1", 92_118_004, 75, 10)),
        Spec::new("demand-model@1", MOBILITY, 91, "Transit demand model")
            .about("Temporal fusion network per line, one day ahead.")
            .file(ONNX, 61_884_416)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["model", "transit", "forecast"])
            .from(&["demand-split@1"], &["train"])
            .content(scores(0.07, 0.12)),
        Spec::new("demand-model@2", MOBILITY, 122, "Transit demand model 2")
            .about("As 1, with holidays, warm-started from it.")
            .file(ONNX, 61_902_848)
            .terms("CC-BY-NC-4.0", "internal")
            .tags(&["model", "transit", "forecast"])
            .from(&["demand-split@1", "demand-model@1"], &["fine-tune"])
            .content(json!({ "parentModelId": "demand-model", "biasScore": 0.06, "driftScore": 0.08 })),
        Spec::new("demand-eval@1", EVALUATION, 163, "Transit demand model evaluation")
            .about("Back-test of model 2 over the spring timetable.")
            .file(JSON, 3_118_092)
            .tags(&["evaluation", "transit"])
            .from(&["demand-model@2"], &["back-test"])
            .content(scores(0.06, 0.09)),
    ]
}

fn power() -> Vec<Spec> {
    vec![
        Spec::new("smart-meters-raw@1", ENERGY, 10, "Smart meter readings, raw")
            .about("Quarter-hour readings of 18,400 volunteering households.")
            .file(CSV, 62_118_220_800)
            .terms("LicenseRef-GridWatch-Research", "restricted")
            .pii(&["meter_id", "address"])
            .tags(&["energy", "smart-meter", "raw", "time-series"])
            .geo("NL")
            .content(table(644_736_000, 2.8, 0.17, 0.999)),
        Spec::new("smart-meters-hourly@1", ENERGY, 31, "Household load, hourly")
            .about("Gaps filled, summed per hour and postcode with differential privacy.")
            .file(PARQUET, 1_118_220_288)
            .terms("CC-BY-4.0", "public")
            .tags(&["energy", "load", "cleaned", "time-series"])
            .geo("NL")
            .from(&["smart-meters-raw@1"], &["gap-fill", "aggregate-dp"])
            .content(table(35_040_000, 0.0, 0.05, 1.0))
            .policy(json!({ "anonymization": { "type": "dp", "epsilon": 1 } })),
        Spec::new("grid-load@2025", ENERGY, 12, "Transmission grid load 2025")
            .about("Quarter-hour load and generation by bidding zone.")
            .file(CSV, 412_884_992)
            .tags(&["energy", "load", "time-series"])
            .content(table(12_614_400, 0.4, 0.03, 1.0)),
        Spec::new("load-features@1", ENERGY, 57, "Load forecast features")
            .about("Lagged load, calendar, weather and wind potential per zone.")
            .file(PARQUET, 804_118_528)
            .tags(&["energy", "features", "forecast"])
            .from(
                &["smart-meters-hourly@1", "grid-load@2025", "weather-gridded@1", "wind-features@1"],
                &["lag", "join"],
            )
            .content(features("load-v1", 3_153_600, 0.1, 0.04, 1.0)),
        Spec::new("load-split@1", ENERGY, 60, "Load forecast split")
            .about("Rolling origin, twelve folds.")
            .file(JSON, 904_192)
            .tags(&["energy", "split"])
            .from(&["load-features@1"], &["rolling-origin"])
            .content(split("load-v1", 3_153_600, 80, 10)),
        Spec::new("load-forecast@1", ENERGY, 79, "Load forecast model")
            .about("Quantile forecast of the next 36 hours per zone.")
            .file(ONNX, 24_118_272)
            .terms("MIT", "public")
            .tags(&["model", "energy", "forecast"])
            .from(&["load-split@1"], &["train"])
            .content(scores(0.03, 0.05)),
        Spec::new("load-forecast@2", ENERGY, 133, "Load forecast model 2")
            .about("Retrained after the tariff change in April.")
            .file(ONNX, 24_204_288)
            .terms("MIT", "public")
            .tags(&["model", "energy", "forecast"])
            .from(&["load-split@1", "load-forecast@1"], &["fine-tune"])
            .content(json!({ "parentModelId": "load-forecast", "biasScore": 0.03, "driftScore": 0.02 })),
        Spec::new("load-eval@1", EVALUATION, 149, "Load forecast evaluation")
            .about("Pinball loss by zone and season for both models.")
            .file(JSON, 1_884_118)
            .tags(&["evaluation", "energy"])
            .from(&["load-forecast@1", "load-forecast@2"], &["back-test"])
            .content(scores(0.03, 0.04)),
    ]
}
