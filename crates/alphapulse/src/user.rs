//! `alphapulse user`, `key`, `token`, `audit`: who may come in through the gateway, managed by whoever owns its files.
//! The gateway may run meanwhile; it notices within a second.

use crate::{config::Config, run_dir};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gateway::{
    AuditProblem, By, KeyInfo, Role, Scope, Scopes, Secret, Store, TOKEN_MINUTES_DEFAULT, User, random_password,
};
use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};
use telemetry::clock;

/// The gateway's folder beneath the state folder.
const FOLDER: &str = "gateway";
/// The longest password that is read; the store says what may be used.
const INPUT_BYTES_MAX: u64 = 4096;

/// Users of the gateway.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Add a user. A random password is made and printed, unless --password-stdin gives one.
    Add {
        /// The name: a-z, 0-9, '.', '_' and '-'.
        name: String,
        /// viewer, researcher, trader or admin.
        #[arg(long, default_value_t = Role::Viewer)]
        role: Role,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Set a password, random unless --password-stdin gives one. Ends the user's sessions.
    Passwd {
        /// The user.
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Change a role; it holds at once.
    Role {
        /// The user.
        name: String,
        /// viewer, researcher, trader or admin.
        role: Role,
    },
    /// Shut a user out, with all sessions, keys and tokens.
    Disable {
        /// The user.
        name: String,
    },
    /// Let a user in again. Sessions stay ended.
    Enable {
        /// The user.
        name: String,
    },
    /// Print a link that logs a user in once, within ten minutes.
    Link {
        /// The user.
        name: String,
    },
    /// List the users.
    Ls {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where a password comes from. Never from an argument: other users of the machine see those.
#[derive(Args)]
pub struct PasswordFrom {
    /// Read it from standard input instead of making a random one.
    #[arg(long)]
    password_stdin: bool,
}

/// API keys: what scripts log in with.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, the only time it is shown: Authorization: Bearer KEY.
    Create {
        /// Whose it is to be; the first admin when not given.
        #[arg(long)]
        user: Option<String>,
        /// What it is called in lists.
        #[arg(long, default_value = "")]
        label: String,
        /// What it is for: of read, stream, workspace, account, admin, with commas.
        #[arg(long, default_value = "read,stream")]
        scopes: Scopes,
        /// Days until it ends; never when not given.
        #[arg(long)]
        days: Option<u32>,
    },
    /// List the keys; their secrets are kept nowhere.
    Ls {
        /// Only this user's.
        #[arg(long)]
        user: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a key for good; streams that it opened are closed.
    Revoke {
        /// The key's id.
        id: String,
    },
}

/// A token for a script that runs for minutes.
#[derive(Args)]
pub struct TokenArgs {
    /// Whose it is to be; the first admin when not given.
    #[arg(long)]
    user: Option<String>,
    /// What it is for: of read, stream, workspace, account, admin, with commas.
    #[arg(long, default_value = "read,stream")]
    scopes: Scopes,
    /// Minutes until it ends, at most 60.
    #[arg(long, default_value_t = TOKEN_MINUTES_DEFAULT)]
    minutes: u32,
}

/// The audit log.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Prove that no entry was changed, removed, moved or put in: exit status 0, or 1 and the first that is wrong.
    Verify,
    /// Print the newest entries, one JSON object a line, the newest first.
    Ls {
        /// How many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Opens the gateway's database.
pub fn store(config: &Config) -> anyhow::Result<Store> {
    let folder = config.paths.state.join(FOLDER);
    std::fs::create_dir_all(&config.paths.state)
        .with_context(|| format!("the folder {} cannot be made", config.paths.state.display()))?;
    Ok(Store::open(&folder)?)
}

fn by() -> By {
    By::command_line(clock::wall_ns())
}

/// Makes the first admin when there is no user, and prints the password, this once.
pub fn first_run(store: &Store) -> anyhow::Result<()> {
    if let Some((name, password)) = store.first_run(&by())? {
        println!("The gateway's first user is {name:?} with the password {}", password.reveal());
        println!("It is shown this once; change it with: alphapulse user passwd {name}");
    }
    Ok(())
}

/// Runs `alphapulse user`.
pub fn user(config: &Config, command: &UserCommand) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    match command {
        UserCommand::Add { name, role, password } => {
            let (password, made) = password.get()?;
            store.add_user(&by(), name, *role, &password)?;
            tell(made, name, &password);
        }
        UserCommand::Passwd { name, password } => {
            let (password, made) = password.get()?;
            store.set_password(&by(), name, &password)?;
            tell(made, name, &password);
        }
        UserCommand::Role { name, role } => store.set_role(&by(), name, *role)?,
        UserCommand::Disable { name } => store.set_disabled(&by(), name, true)?,
        UserCommand::Enable { name } => store.set_disabled(&by(), name, false)?,
        UserCommand::Link { name } => println!("{}", link(config, &store, name)?),
        UserCommand::Ls { json: true } => println!("{}", serde_json::to_string_pretty(&store.users()?)?),
        UserCommand::Ls { json: false } => store.users()?.iter().for_each(show_user),
    }
    Ok(ExitCode::SUCCESS)
}

fn show_user(user: &User) {
    let state = if user.disabled { "disabled" } else { "" };
    println!("{:<24} {:<11} {state}", user.name, user.role.name());
}

impl PasswordFrom {
    /// The password, and whether it was made here.
    fn get(&self) -> anyhow::Result<(Secret, bool)> {
        if !self.password_stdin {
            return Ok((random_password(), true));
        }
        if std::io::stdin().is_terminal() {
            eprintln!("alphapulse: reading the password from the terminal, which shows it; end with Enter and Ctrl-D");
        }
        let mut text = String::new();
        std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("the password cannot be read")?;
        Ok((Secret::new(text.trim_end_matches(['\r', '\n'])), false))
    }
}

fn tell(made: bool, name: &str, password: &Secret) {
    if made {
        println!("The password of {name:?} is {}", password.reveal());
    }
}

/// Runs `alphapulse key`.
pub fn key(config: &Config, command: &KeyCommand) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    match command {
        KeyCommand::Create { user, label, scopes, days } => {
            let user = owner(&store, user.as_deref())?;
            let (info, secret) = store.create_key(&by(), &user, label, *scopes, *days)?;
            // Only the key goes to standard output, so that a script can take it as it is.
            eprintln!("key {} of {user} for {scopes}; end it with: alphapulse key revoke {}", info.id, info.id);
            println!("{}", secret.reveal());
        }
        KeyCommand::Ls { user, json: true } => {
            println!("{}", serde_json::to_string_pretty(&store.keys(user.as_deref())?)?);
        }
        KeyCommand::Ls { user, json: false } => store.keys(user.as_deref())?.iter().for_each(show_key),
        KeyCommand::Revoke { id } => store.revoke_key(&by(), id, None)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_key(key: &KeyInfo) {
    let now_s = clock::wall_ns() / 1_000_000_000;
    let state = match (key.revoked_s, key.expires_s) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(end)) if end <= now_s => "expired".to_owned(),
        (None, Some(end)) => format!("{} days left", (end - now_s) / 86_400),
        (None, None) => String::new(),
    };
    let scopes = key.scopes.iter().copied().map(Scope::name).collect::<Vec<_>>().join(",");
    println!("{} {:<16} {scopes:<24} {:<16} {state}", key.id, key.user, key.label);
}

/// Runs `alphapulse token`.
pub fn token(config: &Config, args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    let user = owner(&store, args.user.as_deref())?;
    let (_, secret) = store.create_token(&by(), &user, args.scopes, args.minutes)?;
    println!("{}", secret.reveal());
    Ok(ExitCode::SUCCESS)
}

/// The user asked for, or the first admin, made when there is nobody yet.
fn owner(store: &Store, asked: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = asked {
        return Ok(name.to_owned());
    }
    if let Some((name, password)) = store.first_run(&by())? {
        eprintln!("made the first user {name:?} with the password {}, shown this once", password.reveal());
    }
    first_admin(store)
}

fn first_admin(store: &Store) -> anyhow::Result<String> {
    let admin = store.users()?.into_iter().find(|user| user.role == Role::Admin && !user.disabled);
    Ok(admin.context("there is no admin who may come in; name a user with --user")?.name)
}

/// Runs `alphapulse audit`.
pub fn audit(config: &Config, command: &AuditCommand) -> anyhow::Result<ExitCode> {
    let store = store(config)?;
    match command {
        AuditCommand::Ls { limit } => {
            for entry in store.audit_entries(None, *limit)? {
                println!("{}", serde_json::to_string(&entry)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify => match store.audit_verify() {
            Ok(state) => {
                println!("{} entries, whole; head {}", state.entries, state.head);
                Ok(ExitCode::SUCCESS)
            }
            Err(AuditProblem::Store(error)) => Err(error.into()),
            Err(broken) => {
                println!("{broken}");
                Ok(ExitCode::from(1))
            }
        },
    }
}

/// A link that logs in the first admin of a plant that just started; none where the gateway is not up.
pub fn newcomer_link(config: &Config, store: &Store) -> anyhow::Result<String> {
    link(config, store, &first_admin(store)?)
}

fn link(config: &Config, store: &Store, user: &str) -> anyhow::Result<String> {
    let origin = origin(config)?;
    let code = store.create_link(&by(), user)?;
    Ok(format!("{origin}{}", gateway::login_path(&code)))
}

/// Where a browser finds the gateway.
fn origin(config: &Config) -> anyhow::Result<String> {
    let scheme = if config.gateway.tls().is_some() { "https" } else { "http" };
    if let Some(name) = config.gateway.names.first() {
        return Ok(format!("{scheme}://{name}"));
    }
    let roles = run_dir::roles(&config.paths.state);
    let running = roles.iter().find(|role| role.role == "gateway" && run_dir::alive(role.pid));
    let listen = running.and_then(|role| role.listen.as_deref());
    let address = listen.and_then(|listen| listen.split("://").nth(1)?.split('/').next());
    match address.or(Some(config.gateway.listen.as_str())).filter(|address| !address.ends_with(":0")) {
        Some(address) => Ok(format!("{scheme}://{address}")),
        None => bail!("the gateway does not run, so nobody knows its port; start it first"),
    }
}
