//! The command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::{Parser, Subcommand};
use overlay::boot::{self, Purpose, Server, Stop, Stores, upkeep};
use overlay::config::{Config, SETTINGS};
use overlay::db::Db;
use overlay::devstack::{DevStack, Options};
use overlay::error::{Error, Result};
use overlay::flows::import::digest::opened;
#[cfg(feature = "importer")]
use overlay::flows::import::legacy::Way;
use overlay::flows::seed;
use overlay::transport::graphql;
use overlay::{app::App, telemetry};
use overlay_migration::{Migrator, MigratorTrait};
use rustix::process::{Pid, Signal, kill_process};

#[path = "main/doctor.rs"]
mod doctor;
#[path = "main/import.rs"]
mod import;
#[cfg(feature = "importer")]
#[path = "main/legacy.rs"]
mod legacy;
#[path = "main/warm.rs"]
mod warm;

/// Overlay: the read and trust server of a data-asset marketplace.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default): migrates the database, then listens.
    Serve {
        /// Load the demo market when the catalogue is empty.
        #[arg(long)]
        seed_if_empty: bool,
        /// Import this file of manifests in the background once the server listens; what was imported before is skipped.
        #[arg(long, value_name = "FILE")]
        import: Option<PathBuf>,
    },
    /// Change the schema, or tell how it stands.
    Migrate {
        #[command(subcommand)]
        step: Migrate,
    },
    /// Load the demo market: producers, datasets, models, policies, prices, advisories, proofs.
    Seed,
    /// Import from a file.
    Import {
        #[command(subcommand)]
        format: Import,
    },
    /// Ask for what is asked for most, so that Redis has the answers.
    Warm {
        /// How many requests.
        #[arg(long, default_value_t = 1_000)]
        requests: usize,
        /// How many of them a second, 1 to 100000; `WARM_RATE` by default.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: Option<u32>,
    },
    /// Look at PostgreSQL, replicas and Redis: how they are, and what to do. Changes nothing in the database; the exit code is 1 when anything is bad.
    Doctor,
    /// Print the GraphQL schema.
    Schema,
    /// List the settings: name, default, accepted form.
    Settings,
    /// Run a command with PG_URL and REDIS_URL of private stores that end with it.
    Devstack {
        /// Where the stores keep their files.
        #[arg(long)]
        root: PathBuf,
        /// Trade safety for speed: for stores that nobody will miss.
        #[arg(long)]
        throw_away: bool,
        /// The command and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Migrate {
    /// Apply what is missing.
    Up,
    /// Take back the newest steps.
    Down {
        /// How many.
        #[arg(default_value_t = 1)]
        steps: u32,
        /// Say yes to losing the data they hold.
        #[arg(long)]
        yes: bool,
    },
    /// Take back everything, which deletes all data, and apply it again.
    Reset {
        /// Say yes to losing all data.
        #[arg(long)]
        yes: bool,
    },
    /// Tell which steps are applied.
    Status,
}

#[derive(Subcommand)]
enum Import {
    /// DLM1 manifests, one JSON object a line.
    Jsonl {
        /// The file, or - for standard input.
        file: PathBuf,
        /// Where refused lines go, with number and reason; beside the file by default.
        #[arg(long)]
        rejects: Option<PathBuf>,
        /// Begin at the first line, also of a file that was imported before.
        #[arg(long)]
        from_start: bool,
    },
    /// An installation of the old server: its SQLite file. Every row is taken over, or refused with its reasons.
    #[cfg(feature = "importer")]
    Sqlite {
        /// The file. Stop the old server first: what it writes later is not seen.
        file: PathBuf,
        /// Where refused rows go, with table, rowid and reasons; beside the file by default.
        #[arg(long)]
        rejects: Option<PathBuf>,
        /// Begin at the first row, also of a file that was imported before.
        #[arg(long)]
        from_start: bool,
        /// Read, check and compare everything, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Reads are made of many small, short-lived pieces; the C library's allocator took a fifth of a miss's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Four times the default stack: a query's parser and executor call themselves for each level of nesting, which is
    // bounded, but not by them. Unused stack is address space only.
    let runtime = match tokio::runtime::Builder::new_multi_thread().thread_stack_size(8 << 20).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("overlay: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("overlay: {}", error.message());
            let mut cause: Option<&dyn std::error::Error> = error.inside().map(|e| e as _);
            let mut told = String::new();
            while let Some(inner) = cause {
                // Many errors say what their source says.
                if !told.contains(&inner.to_string()) {
                    told = inner.to_string();
                    eprintln!("  because: {told}");
                }
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. Who reads it may have seen enough: that is no fault.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::internal(cause)),
        _ => Ok(()),
    }
}

async fn run(command: Option<Command>) -> Result<ExitCode> {
    match command {
        Some(Command::Schema) => say(&graphql::sdl())?,
        Some(Command::Settings) => {
            let line = |s: &overlay::config::Setting| {
                let default = if s.default.is_empty() { "-" } else { s.default };
                format!("{:24} {default:12} {} ({})\n", s.name, s.about, s.form)
            };
            say(&SETTINGS.iter().map(line).collect::<String>())?;
        }
        Some(Command::Devstack { root, throw_away, command }) => return devstack(root, throw_away, &command).await,
        other => {
            let Some(config) = settings() else { return Ok(ExitCode::from(2)) };
            let telemetry = telemetry::start(&config.log)?;
            let outcome = with_stores(&config, other).await;
            tokio::task::spawn_blocking(|| telemetry.flush()).await.map_err(Error::internal)?;
            outcome?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings; when some are wrong, all faults are told and `None` is answered.
fn settings() -> Option<Config> {
    match Config::from_env() {
        Ok(config) => Some(config),
        Err(faults) => {
            eprintln!("overlay: {} of the settings cannot be used:", faults.len());
            faults.iter().for_each(|fault| eprintln!("  {}: {}", fault.name, fault.message));
            eprintln!("`overlay settings` lists them all.");
            None
        }
    }
}

async fn with_stores(config: &Config, command: Option<Command>) -> Result<()> {
    let purpose = match command {
        None | Some(Command::Serve { .. }) => Purpose::Serve,
        Some(_) => Purpose::Command,
    };
    let stores = Stores::open(config, purpose).await?;
    let outcome = match command {
        Some(Command::Serve { seed_if_empty, import }) => serve(config, &stores, seed_if_empty, import).await,
        None => serve(config, &stores, false, None).await,
        // A command that is stopped leaves nothing running, and nothing half done: what it writes, it writes in transactions.
        Some(command) => tokio::select! {
            outcome = once(config, &stores, command) => outcome,
            () = boot::asked_to_stop() => Err(Error::unavailable("stopped before the end")),
        },
    };
    stores.close().await;
    outcome
}

/// Runs a command that ends by itself.
async fn once(config: &Config, stores: &Stores, command: Command) -> Result<()> {
    match command {
        Command::Migrate { step } => migrate(stores, step).await,
        Command::Seed => seed_market(config, stores).await,
        Command::Warm { requests, rate } => {
            warm::up(config, stores, (requests, rate.unwrap_or(config.http.warm_rate)), say).await
        }
        Command::Doctor => doctor::examine(config, stores, say).await,
        Command::Import { format: Import::Jsonl { file, rejects, from_start } } => {
            import_file(config, stores, &file, rejects.as_deref(), from_start).await
        }
        #[cfg(feature = "importer")]
        Command::Import { format: Import::Sqlite { file, rejects, from_start, dry_run } } => {
            let way = if dry_run { Way::Dry } else { Way::Real };
            let order = legacy::Order { file: &file, rejects: rejects.as_deref(), from_start, way };
            legacy::into(&stores.database, &config.market.terms.lineage_namespace, order, say).await
        }
        Command::Serve { .. } | Command::Schema | Command::Settings | Command::Devstack { .. } => {
            Err(Error::internal("this command is run elsewhere"))
        }
    }
}

async fn serve(config: &Config, stores: &Stores, seed_if_empty: bool, import: Option<PathBuf>) -> Result<()> {
    if let Some(file) = &import {
        opened(file)?;
    }
    up_to_date(stores).await?;
    let app = boot::furnish(config, &stores.database, stores.redis.as_ref()).await?;
    if seed_if_empty && seed::if_empty(&app).await? {
        tracing::info!("the catalogue was empty: loaded the demo market");
    }
    // Before it can be reached: who serves is not killed.
    let mut stop = Stop::listen();
    let server = Server::start(config, app).await?;
    let redis = match &stores.redis {
        Some(_) => "Redis",
        None => "PROCESS MEMORY ONLY (no Redis: set REDIS_URL, or install redis-server)",
    };
    let place = if stores.has_private_database() { "private, under .overlay/" } else { "as PG_URL says" };
    tracing::info!("PostgreSQL: {place}; cache: {redis}");
    if config.http.dev_identity {
        tracing::warn!("DEV_IDENTITY IS ON: whoever reaches this server may write, without proving who it is");
    }
    tracing::info!(
        "listening on http://{} (GraphiQL at /, lineage at /lineage, catalogue at /listings, health at /health)",
        server.address
    );
    let background = import.map(|file| {
        let (database, namespace) = (stores.database.clone(), config.market.terms.lineage_namespace.clone());
        tokio::spawn(async move {
            if let Err(error) = import::into(&database, &namespace, &file, None).await {
                tracing::error!(?error, file = %file.display(), "the import stopped; a restart goes on where it ended");
            }
        })
    });
    stop.asked().await;
    if let Some(import) = background {
        import.abort();
    }
    tokio::select! {
        () = server.stop() => {}
        // Who asks twice does not want to wait.
        () = stop.asked() => tracing::warn!("stopped at once: what was under way is cut off"),
    }
    Ok(())
}

/// Brings the schema up to date.
async fn up_to_date(stores: &Stores) -> Result<()> {
    let db = Db::connect(&upkeep(&stores.database)).await?;
    boot::migrate(&db).await?;
    db.close().await;
    Ok(())
}

async fn migrate(stores: &Stores, step: Migrate) -> Result<()> {
    let db = Db::connect(&upkeep(&stores.database)).await?;
    match step {
        Migrate::Up => Migrator::up(db.pool(), None).await?,
        Migrate::Down { steps, yes: true } => Migrator::down(db.pool(), Some(steps)).await?,
        Migrate::Reset { yes: true } => Migrator::fresh(db.pool()).await?,
        Migrate::Down { .. } | Migrate::Reset { .. } => {
            return Err(Error::invalid("this deletes data; say `--yes` if that is what you want"));
        }
        Migrate::Status => {}
    }
    for migration in Migrator::get_migration_models(db.pool()).await.unwrap_or_default() {
        say(&format!("applied  {}\n", migration.version))?;
    }
    for name in boot::missing(&db).await? {
        say(&format!("missing  {name}\n"))?;
    }
    db.close().await;
    Ok(())
}

async fn seed_market(config: &Config, stores: &Stores) -> Result<()> {
    up_to_date(stores).await?;
    let app: App = boot::furnish(config, &stores.database, stores.redis.as_ref()).await?;
    let report = seed::load(&app).await?;
    println!("{report}");
    Ok(())
}

async fn import_file(
    config: &Config, stores: &Stores, file: &Path, rejects: Option<&Path>, from_start: bool,
) -> Result<()> {
    let db = Db::connect(&upkeep(&stores.database)).await?;
    boot::migrate(&db).await?;
    if from_start {
        import::forget(&db, file).await?;
    }
    db.close().await;
    import::into(&stores.database, &config.market.terms.lineage_namespace, file, rejects).await
}

async fn devstack(root: PathBuf, throw_away: bool, command: &[String]) -> Result<ExitCode> {
    let options = Options { durable: !throw_away, ..Options::new(root) };
    let failed = |e: overlay::devstack::Error| Error::unavailable(format!("the private stores cannot be started: {e}"));
    let stack = DevStack::start(&options).await.map_err(failed)?;
    let mut child = tokio::process::Command::new(&command[0]);
    child.args(&command[1..]);
    if let Some(url) = stack.pg_url() {
        child.env("PG_URL", url);
    }
    if let Some(url) = stack.redis_url() {
        child.env("REDIS_URL", url);
    }
    let status = attended(child).await.map_err(|e| Error::invalid(format!("{}: {e}", command[0])));
    stack.stop().await.map_err(Error::internal)?;
    let code = status?.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// How long a command that is asked to end may take.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a command to its end. Whoever asks us to stop means it too, and what it stands on goes only after it.
async fn attended(mut command: tokio::process::Command) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    tokio::select! {
        status = child.wait() => return status,
        () = boot::asked_to_stop() => {}
    }
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // One that has ended meanwhile has no need of it.
        let _ended = kill_process(pid, Signal::TERM);
    }
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status;
    }
    child.kill().await?;
    child.wait().await
}
