//! No secret in anything that is shown: the token, and the signature in an operation's URL.

use std::error::Error as _;
use std::fmt::Write as _;

use aks_client::{Operation, OperationKind};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{Arm, SECRET, answer, cluster, cluster_path, http, id, ok, operation, pool_path};

#[tokio::test]
async fn neither_client_nor_error_nor_operation_shows_a_secret() {
    let arm = Arm::start().await;
    let signed = Operation {
        azure_async_operation: Some(arm.url("/op/1?t=1&s=S1GNATURE")),
        location: Some(arm.url("/op/2?s=S1GNATURE")),
        ..operation(OperationKind::CreatePool)
    };
    let mut shown = format!("{:?} {signed:?} {signed}", arm.client);
    let mut errors = Vec::new();
    for status in [400, 401, 403, 409, 412, 429, 500] {
        let times = if status == 401 { 2 } else { 1 };
        arm.times(times, "PUT", &pool_path("p"), answer(status, &json!({"error": {"code": "X"}}))).await;
        errors.push(arm.client.begin_create_pool(&id(), "p", &json!({})).await.unwrap_err());
    }
    for refused in [answer(400, &json!({})), ResponseTemplate::new(200).set_body_string("<html>")] {
        arm.status("/op/1", refused).await;
        errors.push(arm.client.poll(&signed).await.unwrap_err());
    }
    arm.status("/op/1", ResponseTemplate::new(302).insert_header("Location", "/op/3?s=S1GNATURE")).await;
    errors.push(arm.client.poll(&signed).await.unwrap_err());
    arm.once("GET", &cluster_path(), ok(&cluster("Succeeded", "1.34.6"))).await;
    write!(shown, "{:?}", arm.client.cluster(&id()).await.unwrap()).unwrap();

    // A transport error repeats the URL unless told not to.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = aks_client::AksClient::new(
        http(reqwest::redirect::Policy::none()),
        closed.parse().unwrap(),
        aks_client::ApiVersion::default(),
        arm.tokens.clone(),
    )
    .with_pause(arm.waits.clone());
    let url = aks_client::OperationUrl::parse(&format!("{closed}/op/1?s=S1GNATURE"));
    let unreachable = Operation { azure_async_operation: url, ..operation(OperationKind::CreatePool) };
    errors.push(client.poll(&unreachable).await.unwrap_err());

    for error in &errors {
        write!(shown, "{error} {error:?}").unwrap();
        let mut source = error.source();
        while let Some(inner) = source {
            write!(shown, "{inner} {inner:?}").unwrap();
            source = inner.source();
        }
    }
    assert_eq!(errors.len(), 11);
    assert!(!shown.contains(SECRET) && !shown.contains("S1GNATURE"), "{shown}");
}
