//! The shape that the doctor compares a database with is that of a database that was just made.

use overlay_migration::{ASK_SHAPE, SHAPE};

use crate::harness::{rows_of, with_database};

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_that_is_written_down_is_what_the_steps_make() {
    with_database(async |database| {
        let found = rows_of(&database.url, ASK_SHAPE).await.join("\n") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/migration/src/shape.txt");
        if std::env::var_os("OVERLAY_WRITE_SHAPE").is_some() {
            std::fs::write(path, &found).expect("written");
        }
        let lacks = |of: &str, other: &str| -> Vec<String> {
            of.lines().filter(|line| !other.lines().any(|own| own == *line)).map(str::to_owned).collect()
        };
        let told = (lacks(&found, SHAPE), lacks(SHAPE, &found));
        assert!(
            SHAPE == found,
            "what is made and not written down, and the reverse: {told:?}\n\
             run this test with OVERLAY_WRITE_SHAPE=1 and review the difference of {path}"
        );
    })
    .await;
}
