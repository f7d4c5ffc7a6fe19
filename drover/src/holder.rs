//! The name under which this process holds the lock of a cluster.

use upgrade_core::model::HolderId;

/// How much of a user's and of a machine's name is told.
const LONGEST_NAME: usize = 63;

/// A name that no other process has, ever: who, where, and eight random digits. Whoever is refused reads it. Asked of the
/// operating system, because nothing of the environment is read that the configuration does not name.
pub(crate) fn new() -> HolderId {
    named(&user(), &machine(), random())
}

/// Who runs this process, and where.
pub(crate) fn person() -> String {
    format!("{} on {}", plain(&user()), plain(&machine()))
}

fn named(user: &str, machine: &str, random: u32) -> HolderId {
    let user = if user.is_empty() { "somebody" } else { user };
    let (user, machine) = (plain(user), plain(machine));
    let process = std::process::id();
    HolderId::new(format!("{user}:{machine}:{process}:{random:08x}"))
        .expect("made of the allowed characters, and short enough")
}

fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    name.chars().map(plain).take(LONGEST_NAME).collect()
}

#[cfg(unix)]
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn machine() -> String {
    "some-machine".to_owned()
}

#[cfg(unix)]
fn user() -> String {
    format!("uid-{}", rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn user() -> String {
    String::new()
}

fn random() -> u32 {
    let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_and_where_and_is_always_valid_and_never_the_same() {
        let process = std::process::id();
        let name = named("DOM\\ann", "build 7.example", 0xfe);
        assert_eq!(name.as_str(), format!("DOM-ann:build-7.example:{process}:000000fe"));
        assert!(named("", &"x".repeat(300), 1).as_str().starts_with("somebody:xxx"));
        assert!(!machine().is_empty());
        assert_ne!(new(), new());
    }
}
