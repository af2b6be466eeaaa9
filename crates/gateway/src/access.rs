//! Who may do what: roles that contain each other, scopes of keys and tokens, and the policy every route must name.
//!
//! A request passes when the user's role is at least the policy's and the credential carries its scope. A session carries
//! every scope of its role, a key or token those it was made with and its user's role still allows. Pure.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a user is. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at the markets.
    Viewer,
    /// Also at measurements, and later history and own code.
    Researcher,
    /// Also at how the machine is configured, and later orders.
    Trader,
    /// Also users and the audit log.
    Admin,
}

/// All roles, the least first.
pub const ROLES: [Role; 4] = [Role::Viewer, Role::Researcher, Role::Trader, Role::Admin];

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reading what is known: instruments, books, trades, health.
    Read,
    /// Following the live stream.
    Stream,
    /// The user's own watchlists, layouts and preferences.
    Workspace,
    /// The user's own password, sessions, keys and tokens.
    Account,
    /// Users and the audit log.
    Admin,
}

/// All scopes.
pub const SCOPES: [Scope; 5] = [Scope::Read, Scope::Stream, Scope::Workspace, Scope::Account, Scope::Admin];

macro_rules! named {
    ($type:ty, $all:expr, $what:literal, { $($value:path => $name:literal),+ }) => {
        impl $type {
            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $($value => $name),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
        impl FromStr for $type {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                $all.into_iter().find(|value| value.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    name: text.to_owned(),
                    known: $all.map(Self::name).join(", "),
                })
            }
        }
    };
}
named!(Role, ROLES, "role", {
    Role::Viewer => "viewer", Role::Researcher => "researcher", Role::Trader => "trader", Role::Admin => "admin"
});
named!(Scope, SCOPES, "scope", {
    Scope::Read => "read", Scope::Stream => "stream", Scope::Workspace => "workspace", Scope::Account => "account",
    Scope::Admin => "admin"
});

/// A role or scope that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called {name:?}; there are {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

impl Scope {
    /// The least role that may have it.
    pub const fn least_role(self) -> Role {
        match self {
            Scope::Admin => Role::Admin,
            Scope::Read | Scope::Stream | Scope::Workspace | Scope::Account => Role::Viewer,
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope that a role may have.
    pub fn of_role(role: Role) -> Scopes {
        SCOPES.into_iter().filter(|scope| scope.least_role() <= role).collect()
    }

    /// Whether it holds this one.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those that both hold.
    pub fn and(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `other` holds all of these.
    pub fn within(self, other: Scopes) -> bool {
        self.and(other) == self
    }

    /// They, in a fixed order.
    pub fn list(self) -> Vec<Scope> {
        SCOPES.into_iter().filter(|scope| self.has(*scope)).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u8))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list().into_iter().map(Scope::name).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Scopes {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Scopes, UnknownName> {
        text.split([',', ' ']).filter(|name| !name.is_empty()).map(Scope::from_str).collect()
    }
}

/// What a route asks of whoever calls it. There is no route without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Anyone, and why that is right.
    Open {
        /// The reason.
        because: &'static str,
    },
    /// A user with at least this role, by a credential with this scope.
    Needs {
        /// The role.
        role: Role,
        /// The scope.
        scope: Scope,
    },
}

/// A policy that lets anyone in.
pub(crate) const fn open(because: &'static str) -> Policy {
    Policy::Open { because }
}

/// A policy that asks for a role and a scope.
pub(crate) const fn needs(role: Role, scope: Scope) -> Policy {
    Policy::Needs { role, scope }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Open { because } => write!(f, "open: {because}"),
            Policy::Needs { role, scope } => write!(f, "{role}, scope {scope}"),
        }
    }
}

/// By what a request says who it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A browser's cookie: the hash of its secret.
    Session([u8; 32]),
    /// An API key's id.
    Key(String),
    /// A token's id.
    Token(String),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) user: i64,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) scopes: Scopes,
    pub(crate) credential: Credential,
    /// When the credential ends for good, Unix seconds.
    pub(crate) expires_s: u64,
}

impl Policy {
    /// Whether it lets these in; what is lacking if not.
    pub(crate) fn judge(self, role: Role, scopes: Scopes) -> Result<(), Lacking> {
        match self {
            Policy::Open { .. } => Ok(()),
            Policy::Needs { role: least, .. } if role < least => Err(Lacking::Role { have: role, least }),
            Policy::Needs { scope, .. } if !scopes.has(scope) => Err(Lacking::Scope(scope)),
            Policy::Needs { .. } => Ok(()),
        }
    }
}

/// What a caller lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lacking {
    #[error("this needs the role {least}, and yours is {have}")]
    Role { have: Role, least: Role },
    #[error("this needs a credential with the scope {0}")]
    Scope(Scope),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_contain_each_other_and_scopes_follow_them() {
        for (i, role) in ROLES.into_iter().enumerate() {
            for (j, least) in ROLES.into_iter().enumerate() {
                let judged = needs(least, Scope::Read).judge(role, Scopes::of_role(role));
                assert_eq!(judged.is_ok(), i >= j, "{role} at {least}");
            }
            assert_eq!(Scopes::of_role(role).has(Scope::Admin), role == Role::Admin);
            assert_eq!(role.name().parse(), Ok(role));
        }
        let read: Scopes = "read".parse().expect("a scope");
        assert_eq!(needs(Role::Viewer, Scope::Stream).judge(Role::Admin, read), Err(Lacking::Scope(Scope::Stream)));
        assert_eq!(open("test").judge(Role::Viewer, Scopes::default()), Ok(()));
    }

    #[test]
    fn sets_are_read_and_written_in_one_order() {
        let set: Scopes = "stream, read".parse().expect("scopes");
        assert_eq!(set.to_string(), "read,stream");
        assert!(set.within(Scopes::of_role(Role::Viewer)) && !Scopes::of_role(Role::Viewer).within(set));
        let error = "read,root".parse::<Scopes>().expect_err("no such scope").to_string();
        assert!(error.contains("root") && error.contains("workspace"), "{error}");
    }
}
