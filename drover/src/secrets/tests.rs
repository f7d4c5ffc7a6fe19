use secrecy::ExposeSecret;

use super::*;

fn sh(script: &str) -> SecretPlace {
    SecretPlace::Command { program: "sh".into(), arguments: vec!["-c".into(), script.into()] }
}

async fn fetched(from: SecretPlace) -> Result<String, String> {
    let fetched = match &from {
        SecretPlace::Variable(name) => variable(name),
        SecretPlace::File(path) => file(path).await,
        SecretPlace::Command { program, arguments } => command(program, arguments).await,
    };
    fetched.map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_secret_is_read_from_each_of_its_places_without_the_final_line_break() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "hunter2\r\n").unwrap();
    assert_eq!(fetched(SecretPlace::File(path)).await.unwrap(), "hunter2");
    assert_eq!(fetched(sh("echo hunter2")).await.unwrap(), "hunter2");
    // Every test run has a path.
    assert!(fetched(SecretPlace::Variable("PATH".into())).await.is_ok());
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_by_its_place() {
    let missing = fetched(SecretPlace::Variable("AKS_DROVER_TEST_NOT_SET".into())).await.unwrap_err();
    assert_eq!(missing, "the variable `AKS_DROVER_TEST_NOT_SET` is not set");
    let missing = fetched(SecretPlace::File("/nowhere/token".into())).await.unwrap_err();
    assert!(missing.starts_with("the file /nowhere/token cannot be read: "), "{missing}");
    let missing = fetched(SecretPlace::Command { program: "/nowhere/vault".into(), arguments: vec![] })
        .await
        .unwrap_err();
    assert!(missing.starts_with("the command `/nowhere/vault` cannot be run: "), "{missing}");
    assert_eq!(fetched(sh("true")).await.unwrap_err(), "the command `sh` printed nothing");
}

#[tokio::test]
async fn a_command_that_fails_is_told_in_its_own_last_words_and_its_output_is_not_repeated() {
    let failed =
        fetched(sh("echo hunter2; echo first >&2; printf 'not \\033[1mlogged in\\n\\n' >&2; exit 3"))
            .await
            .unwrap_err();
    assert_eq!(failed, "the command `sh` failed (exit status: 3): not [1mlogged in");
}
