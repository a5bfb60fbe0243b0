//! A migration step that is two pieces of SQL.

use std::borrow::Cow;

use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::ConnectionTrait};

/// One step: the statements that make it and those that undo it.
#[derive(Debug)]
pub(crate) struct Step {
    name: &'static str,
    up: Cow<'static, str>,
    down: Cow<'static, str>,
}

impl Step {
    pub(crate) fn new(
        name: &'static str, up: impl Into<Cow<'static, str>>, down: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name, up: up.into(), down: down.into() }
    }

    pub(crate) fn up_sql(&self) -> &str {
        &self.up
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait wants the signatures spelled as the trait spells them")]
#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(&self.up).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(&self.down).await.map(drop)
    }
}

/// The step whose statements are in `sql/<name>.up.sql` and `sql/<name>.down.sql`.
macro_rules! sql {
    ($name:literal) => {
        $crate::step::Step::new(
            $name,
            include_str!(concat!("../sql/", $name, ".up.sql")),
            include_str!(concat!("../sql/", $name, ".down.sql")),
        )
    };
}
pub(crate) use sql;
