use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A clock that stands where it is put.
struct Standing(StdMutex<Timestamp>);

#[async_trait]
impl Clock for Standing {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

/// Counts what it hands out; each token lasts an hour from the beginning.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    forgot: AtomicUsize,
}

#[async_trait]
impl Origin for Arc<Counting> {
    async fn fresh(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let expires_at = Some(Timestamp::from_second(3600).unwrap());
        Ok(AccessToken { secret: format!("{scope}#{number}").into(), expires_at })
    }

    fn forget(&self) {
        self.forgot.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end_or_until_it_is_refused() {
    let clock = Arc::new(Standing(StdMutex::new(Timestamp::UNIX_EPOCH)));
    let origin = Arc::new(Counting::default());
    let tokens = AzureTokens {
        kind: "token",
        origin: Box::new(Arc::clone(&origin)),
        clock: clock.clone(),
        kept: Mutex::new(None),
        refused: false.into(),
    };
    let get = async |scope: &str| tokens.token(scope).await.unwrap().secret.expose_secret().to_owned();
    assert_eq!((get("a").await, get("a").await), ("a#1".to_owned(), "a#1".to_owned()));
    assert_eq!(get("b").await, "b#2", "a token is good for its scope alone");
    *clock.0.lock().unwrap() = Timestamp::from_second(3600 - 301).unwrap();
    assert_eq!(get("b").await, "b#2");
    *clock.0.lock().unwrap() = Timestamp::from_second(3600 - 299).unwrap();
    assert_eq!(get("b").await, "b#3");
    *clock.0.lock().unwrap() = Timestamp::UNIX_EPOCH;
    tokens.invalidate();
    assert_eq!((get("b").await, origin.forgot.load(Ordering::Relaxed)), ("b#4".to_owned(), 1));
}

#[test]
fn the_end_of_a_json_web_token_is_read_and_of_nothing_else() {
    let claims = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let jwt = format!("e30.{}.c2ln", claims(r#"{"exp":1795500000,"aud":"x"}"#));
    assert_eq!(end_of(&jwt.into()).unwrap().as_second(), 1_795_500_000);
    for other in ["opaque".to_owned(), "a.b.c".to_owned(), format!("e30.{}.c2ln", claims(r#"{"aud":"x"}"#))] {
        assert_eq!(end_of(&other.into()), None);
    }
}
