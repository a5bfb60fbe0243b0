//! Genomes and clinics.

use serde_json::json;

use super::{super::producers::*, *};

const DUA: &str = "LicenseRef-Data-Use-Agreement";
const CLINICAL: &str = "clinical-research";

pub(super) fn all() -> Vec<Spec> {
    vec![
        Spec::new("cohort-reads@1", GENOMICS, 5, "Cohort whole-genome reads")
            .about("Aligned reads of 3,202 consenting donors, 30-fold coverage.")
            .file("application/vnd.ga4gh.cram", 48_210_993_106_944)
            .terms(DUA, CLINICAL)
            .pii(&["genetic"])
            .tags(&["genomics", "wgs", "raw"])
            .geo("SE")
            .content(json!({ "rowCount": 3_202 })),
        Spec::new("phenotypes-raw@1", HOSPITAL, 8, "Registry phenotypes, raw")
            .about("Diagnoses, laboratory values and prescriptions of the cohort as exported from the registry.")
            .file(CSV, 3_804_220_176)
            .terms(DUA, CLINICAL)
            .pii(&["name", "birth_date", "health"])
            .tags(&["clinical", "phenotypes", "raw"])
            .geo("IE")
            .content(table(4_018_220, 11.7, 0.27, 0.94)),
        Spec::new("cohort-variants-raw@1", GENOMICS, 19, "Cohort variant calls, raw")
            .about("Joint calls before filtering: 121 million sites.")
            .file("application/vnd.ga4gh.vcf", 904_118_220_288)
            .terms(DUA, CLINICAL)
            .pii(&["genetic"])
            .tags(&["genomics", "variants", "raw"])
            .geo("SE")
            .from(&["cohort-reads@1"], &["joint-calling"])
            .content(table(121_004_118, 2.3, 0.22, 1.0)),
        Spec::new("phenotypes@1", HOSPITAL, 22, "Registry phenotypes, pseudonymised")
            .about("Direct identifiers removed, dates shifted per patient, rare codes generalised.")
            .file(PARQUET, 604_992_512)
            .terms(DUA, CLINICAL)
            .pii(&["health"])
            .tags(&["clinical", "phenotypes", "cleaned"])
            .geo("IE")
            .from(&["phenotypes-raw@1"], &["pseudonymise", "date-shift"])
            .content(table(3_991_004, 3.9, 0.11, 0.97))
            .policy(json!({ "anonymization": { "type": "k-anon", "k": 15 } })),
        Spec::new("cohort-variants@1", GENOMICS, 34, "Cohort variant calls")
            .about("Filtered by quality score recalibration; 84 million sites remain.")
            .file("application/vnd.ga4gh.vcf", 612_330_176_512)
            .terms(DUA, CLINICAL)
            .pii(&["genetic"])
            .tags(&["genomics", "variants", "cleaned"])
            .geo("SE")
            .from(&["cohort-variants-raw@1"], &["quality-recalibration", "hard-filter"])
            .content(table(84_210_336, 0.4, 0.05, 1.0)),
        Spec::new("variant-frequencies@1", GENOMICS, 41, "Allele frequencies of the cohort")
            .about("Counts per site, cells under 20 suppressed. Safe to publish.")
            .file(PARQUET, 2_118_004_736)
            .terms("CC0-1.0", "public")
            .tags(&["genomics", "variants", "aggregate"])
            .geo("SE")
            .from(&["cohort-variants@1"], &["aggregate", "small-cell-suppression"])
            .content(table(61_880_214, 0.0, 0.02, 1.0))
            .policy(json!({ "anonymization": { "type": "k-anon", "k": 20 } })),
        Spec::new("risk-features@1", GENOMICS, 55, "Cardiac risk features")
            .about("Principal components, 312 lead variants and 48 phenotype summaries per donor.")
            .file(PARQUET, 88_204_800)
            .terms(DUA, "restricted")
            .pii(&["genetic", "health"])
            .tags(&["genomics", "clinical", "features", "cardiology"])
            .geo("EU")
            .from(&["cohort-variants@1", "phenotypes@1"], &["ld-pruning", "join", "standardise"])
            .content(features("cardiac-risk-v1", 3_118, 0.8, 0.04, 1.0)),
        Spec::new("risk-split@1", GENOMICS, 59, "Cardiac risk split")
            .about("Stratified by site and sex.")
            .file(JSON, 118_204)
            .terms(DUA, "restricted")
            .tags(&["cardiology", "split"])
            .from(&["risk-features@1"], &["stratified-split"])
            .content(split("cardiac-risk-v1", 3_118, 60, 20)),
        Spec::new("risk-score-model@1", GENOMICS, 83, "Cardiac polygenic risk score")
            .about("Penalised regression over variants and phenotype summaries, trained with differential privacy.")
            .file(ONNX, 912_384)
            .terms(DUA, "restricted")
            .tags(&["model", "risk-score", "cardiology"])
            .from(&["risk-split@1"], &["train-dp-sgd"])
            .content(scores(0.09, 0.07))
            .policy(json!({ "anonymization": { "type": "dp", "epsilon": 2.5 } })),
        Spec::new("risk-score-eval@1", EVALUATION, 101, "Risk score evaluation")
            .about("Calibration and subgroup performance; bias above our advised limit for donors over 70.")
            .file(JSON, 884_120)
            .terms("CC-BY-4.0", "public")
            .tags(&["evaluation", "cardiology", "fairness"])
            .from(&["risk-score-model@1", "risk-split@1"], &["calibration", "subgroup-analysis"])
            .content(scores(0.19, 0.07)),
    ]
}
