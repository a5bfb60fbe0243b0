//! Text, speech and language models: the deepest ancestry of the market, eight generations.

use serde_json::json;

use super::{super::producers::*, *};

pub(super) fn all() -> Vec<Spec> {
    vec![
        Spec::new("crawl-raw@2026-01", ARCHIVE, 6, "Web crawl, January 2026")
            .about("Plain text of 212 million pages whose sites allow crawling, with headers and language tags.")
            .file("application/warc", 4_118_220_996_608)
            .terms("LicenseRef-Crawl-Terms", "internal")
            .pii(&["name", "email"])
            .tags(&["text", "crawl", "raw"])
            .geo("GLOBAL")
            .content(table(212_004_551, 0.0, 0.33, 0.71)),
        Spec::new("books-raw@1", ARCHIVE, 7, "Public-domain books, scans")
            .about("Recognised text of 61,204 books whose authors died before 1955.")
            .file(JSONL, 38_220_114_944)
            .terms("CC0-1.0", "public")
            .tags(&["text", "books", "raw"])
            .geo("GLOBAL")
            .content(table(61_204, 0.4, 0.18, 0.99)),
        Spec::new("crawl-dedup@1", ARCHIVE, 16, "Web crawl, deduplicated")
            .about("Near-duplicates removed by MinHash at 0.8 similarity.")
            .file(PARQUET, 2_204_881_993_728)
            .terms("LicenseRef-Crawl-Terms", "internal")
            .pii(&["name", "email"])
            .tags(&["text", "crawl", "cleaned"])
            .geo("GLOBAL")
            .from(&["crawl-raw@2026-01"], &["minhash-dedup"])
            .content(table(118_440_207, 0.0, 0.21, 0.997)),
        Spec::new("books-clean@1", ARCHIVE, 18, "Public-domain books, corrected")
            .about("Recognition errors corrected, running heads and page numbers removed.")
            .file(JSONL, 31_004_220_160)
            .terms("CC0-1.0", "public")
            .tags(&["text", "books", "cleaned"])
            .geo("GLOBAL")
            .from(&["books-raw@1"], &["ocr-correction", "boilerplate-removal"])
            .content(table(60_118, 0.0, 0.06, 1.0)),
        Spec::new("crawl-filtered@1", ARCHIVE, 29, "Web crawl, filtered")
            .about("Quality classifier, e-mail addresses and telephone numbers masked, opt-outs honoured.")
            .file(PARQUET, 811_220_443_136)
            .terms("ODC-By-1.0", "public")
            .tags(&["text", "crawl", "cleaned", "filtered"])
            .geo("GLOBAL")
            .from(&["crawl-dedup@1"], &["quality-filter", "pii-masking", "opt-out"])
            .content(table(41_118_330, 0.0, 0.08, 0.999)),
        Spec::new("corpus-tokens@1", LANGUAGE, 42, "Pre-training corpus, tokenised")
            .about("Filtered crawl and books, mixed four to one, byte-pair tokens of 65,536.")
            .file(PARQUET, 402_118_860_800)
            .terms("ODC-By-1.0", "public")
            .tags(&["text", "tokens", "features", "pre-training"])
            .geo("GLOBAL")
            .from(&["crawl-filtered@1", "books-clean@1"], &["tokenise", "mix"])
            .content(json!({ "featureSetId": "corpus-bpe65k-v1", "rowCount": 98_220_114, "uniquenessRatio": 0.998 })),
        Spec::new("corpus-split@1", LANGUAGE, 46, "Pre-training corpus split")
            .about("Split by site, evaluation sets of the market decontaminated by 13-grams.")
            .file(JSON, 611_204_992)
            .terms("ODC-By-1.0", "public")
            .tags(&["text", "split"])
            .geo("GLOBAL")
            .from(&["corpus-tokens@1"], &["split-by-site", "decontaminate"])
            .content(split("corpus-bpe65k-v1", 98_220_114, 98, 1)),
        Spec::new("instruction-pairs@1", LANGUAGE, 61, "Instruction pairs")
            .about("214,000 instructions with answers written by paid annotators in nine languages.")
            .file(JSONL, 884_220_416)
            .terms("CC-BY-4.0", "public")
            .pii(&["annotator_id"])
            .tags(&["text", "instructions", "features"])
            .geo("GLOBAL")
            .content(table(214_006, 0.0, 0.05, 0.993)),
        Spec::new("corvid-base@1", LANGUAGE, 92, "Corvid 3B base")
            .about("Decoder-only language model, 3.1 billion parameters, 400 billion tokens.")
            .file(SAFETENSORS, 6_208_114_688)
            .terms("Apache-2.0", "public")
            .tags(&["model", "language-model", "base"])
            .geo("GLOBAL")
            .from(&["corpus-split@1"], &["train"])
            .content(scores(0.08, 0.03)),
        Spec::new("corvid-instruct@1", LANGUAGE, 117, "Corvid 3B instruct")
            .about("Base model tuned on the instruction pairs.")
            .file(SAFETENSORS, 6_208_115_712)
            .terms("Apache-2.0", "public")
            .tags(&["model", "language-model", "instruct"])
            .geo("GLOBAL")
            .from(&["corvid-base@1", "instruction-pairs@1"], &["supervised-fine-tuning"])
            .content(json!({ "parentModelId": "corvid-base", "biasScore": 0.07, "driftScore": 0.04 })),
        Spec::new("corvid-instruct@1.1", LANGUAGE, 146, "Corvid 3B instruct 1.1")
            .about("Preference tuning on top of 1; shorter answers, fewer refusals.")
            .file(SAFETENSORS, 6_208_115_712)
            .terms("Apache-2.0", "public")
            .tags(&["model", "language-model", "instruct"])
            .geo("GLOBAL")
            .from(&["corvid-instruct@1"], &["preference-optimisation"])
            .content(json!({ "parentModelId": "corvid-instruct", "biasScore": 0.05, "driftScore": 0.06 })),
        Spec::new("corvid-eval@1", EVALUATION, 129, "Corvid instruct evaluation")
            .about("Forty tasks in nine languages, three seeds, with the prompts.")
            .file(JSON, 22_004_118)
            .tags(&["evaluation", "language-model"])
            .geo("GLOBAL")
            .from(&["corvid-instruct@1"], &["benchmark"])
            .content(scores(0.07, 0.04)),
        Spec::new("speech-raw@1", SPEECH, 13, "Read speech, recordings")
            .about("1,904 hours of sentences read by 5,200 volunteers in eleven languages.")
            .file("audio/flac", 211_884_503_040)
            .terms("CC0-1.0", "restricted")
            .pii(&["voice", "age", "gender"])
            .tags(&["speech", "audio", "raw"])
            .content(table(1_440_220, 4.1, 0.19, 0.96)),
        Spec::new("speech-aligned@1", SPEECH, 39, "Read speech, aligned")
            .about("Clips validated by two listeners and aligned with their sentences.")
            .file(PARQUET, 164_220_118_016)
            .terms("CC0-1.0", "restricted")
            .pii(&["voice"])
            .tags(&["speech", "audio", "cleaned"])
            .from(&["speech-raw@1"], &["validation", "forced-alignment"])
            .content(table(1_102_884, 0.6, 0.07, 0.995)),
        Spec::new("speech-split@1", SPEECH, 53, "Read speech split")
            .about("Split by speaker.")
            .file(JSON, 62_118_400)
            .terms("CC0-1.0", "public")
            .tags(&["speech", "split"])
            .from(&["speech-aligned@1"], &["split-by-speaker"])
            .content(split("speech-v1", 1_102_884, 90, 5)),
        Spec::new("polyphon-asr@1", SPEECH, 161, "Polyphon speech recogniser")
            .about("Encoder with connectionist temporal classification, 118 million parameters.")
            .file(ONNX, 472_118_272)
            .terms("MIT", "public")
            .tags(&["model", "speech", "recognition"])
            .from(&["speech-split@1"], &["train"])
            .content(scores(0.14, 0.09)),
    ]
}
