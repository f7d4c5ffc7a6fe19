//! The registry, as a client asks it whether an image is there.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

const WEB: &str = "/v2/shop/web/manifests/1.0";

/// The demo's registry, with an image that runs on Windows beside the others.
fn bench() -> Bench {
    let bench = Bench::of(&Scenario::demo());
    bench.lab.with(|world| {
        let web = world.store.get::<Deployment>("shop", "web").cloned().unwrap();
        let mut windows = (*web).clone();
        windows.metadata = ObjectMeta {
            name: Some("desk".to_owned()),
            namespace: Some("shop".to_owned()),
            ..ObjectMeta::default()
        };
        windows.spec.replicas = Some(0);
        let pod = windows.spec.template.spec.as_mut().unwrap();
        pod.node_selector = Some([("kubernetes.io/os".to_owned(), "windows".to_owned())].into());
        pod.containers[0].image = Some("other.example.com/shop/desk:1.0".to_owned());
        world.store.create(windows).unwrap();
    });
    bench
}

async fn get(bench: &Bench, path: &str) -> Answer {
    bench.send("GET", path, &[], "").await
}

fn error_code(answer: &Answer) -> String {
    answer.json()["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_is_an_index_of_platforms_and_each_of_them_is_there_by_its_digest() {
    let bench = bench();
    let base = get(&bench, "/v2/").await;
    assert_eq!((base.status, base.header("docker-distribution-api-version")), (200, Some("registry/2.0")));
    let web = get(&bench, WEB).await;
    assert_eq!(web.status, 200, "{}", web.text);
    assert_eq!(web.header("content-type"), Some("application/vnd.oci.image.index.v1+json"));
    let index = web.json();
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 1);
    assert_eq!(manifests[0]["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    let digest = web.header("docker-content-digest").unwrap();
    assert_eq!(get(&bench, &format!("/v2/shop/web/manifests/{digest}")).await.text, web.text);
    let child =
        get(&bench, &format!("/v2/shop/web/manifests/{}", manifests[0]["digest"].as_str().unwrap())).await;
    assert_eq!(child.header("content-type"), Some("application/vnd.oci.image.manifest.v1+json"));
    assert_eq!(child.text.len() as u64, manifests[0]["size"].as_u64().unwrap());
    let desk = get(&bench, "/v2/shop/desk/manifests/1.0").await.json();
    assert_eq!(desk["manifests"][0]["platform"]["os"], "windows");
    assert_eq!(desk["manifests"][0]["platform"]["os.version"], "10.0.20348.2762");
    assert_eq!(
        get(&bench, "/v2/shop/web/tags/list").await.json(),
        json!({ "name": "shop/web", "tags": ["1.0"] })
    );
}

#[tokio::test]
async fn head_says_the_same_without_the_body() {
    let bench = bench();
    let (head, get) = (bench.send("HEAD", WEB, &[], "").await, get(&bench, WEB).await);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for name in ["content-type", "content-length", "docker-content-digest", "etag"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(head.header("content-length"), Some(get.text.len().to_string().as_str()));
    assert_eq!(bench.send("HEAD", "/v2/shop/web/manifests/2.0", &[], "").await.status, 404);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_from_what_never_was() {
    let bench = bench();
    let unknown = get(&bench, "/v2/shop/web/manifests/2.0").await;
    assert_eq!((unknown.status, error_code(&unknown).as_str()), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(unknown.json()["errors"][0]["detail"], json!({ "Tag": "2.0" }));
    let name = get(&bench, "/v2/shop/nothing/manifests/1.0").await;
    assert_eq!((name.status, error_code(&name).as_str()), (404, "NAME_UNKNOWN"));
    let elsewhere = get(&bench, "/v2/shop/desk/manifests/1.0?ns=registry.example.com").await;
    assert_eq!((elsewhere.status, error_code(&elsewhere).as_str()), (404, "NAME_UNKNOWN"));
    assert_eq!(get(&bench, "/v2/shop/desk/manifests/1.0?ns=other.example.com").await.status, 200);
    let written = bench.send("PUT", WEB, &[], "{}").await;
    assert_eq!((written.status, error_code(&written).as_str()), (405, "UNSUPPORTED"));
    assert_eq!(error_code(&get(&bench, "/v2/shop").await), "NAME_INVALID");
}

#[tokio::test]
async fn an_image_that_somebody_deleted_is_gone_until_it_is_pushed_again() {
    let bench = bench();
    bench.lab.with(|world| world.delete_image("registry.example.com/shop/web:1.0"));
    let gone = get(&bench, WEB).await;
    assert_eq!((gone.status, error_code(&gone).as_str()), (404, "NAME_UNKNOWN"), "it was the only one");
    bench.lab.with(|world| world.push_image("registry.example.com/shop/web:1.0"));
    assert_eq!(get(&bench, WEB).await.status, 200);
}
