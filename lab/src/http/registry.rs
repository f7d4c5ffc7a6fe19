//! The image registry: the part of the distribution API by which a client finds out whether an image is there.
//!
//! The lab's one address stands for every registry of the cluster's images. A repository is named by its path alone
//! (`shop/web`), as behind the registry's own name; where two registries have the path, `?ns=registry.example.com` (containerd's
//! way to ask a mirror) or the `Host` header tells them apart. Blobs are not there: nobody pulls from the lab over HTTP.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::app::App;
use super::call::{self, Call, set_header};
use crate::kube::KnownImage;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The Windows that the lab's Windows nodes run: a Windows image fits one build of it (Windows Server 2022).
const WINDOWS_BUILD: &str = "10.0.20348.2762";

/// An image's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    host: String,
    repository: String,
    /// A tag, or a digest.
    version: String,
}

impl Reference {
    /// As Docker reads it: without a registry it is Docker Hub's, without a tag `latest`.
    fn of(image: &str) -> Self {
        let (host, path) = match image.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("docker.io", image.to_owned()),
            None => ("docker.io", format!("library/{image}")),
        };
        let (named, digest) = match path.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (path.as_str(), None),
        };
        let (repository, tag) = match named.rsplit_once(':') {
            Some((repository, tag)) => (repository, tag),
            None => (named, "latest"),
        };
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            version: digest.unwrap_or(tag).to_owned(),
        }
    }
}

/// A document that a registry keeps by the hash of its bytes.
struct Document {
    kind: &'static str,
    text: String,
}

impl Document {
    fn new(kind: &'static str, content: &Value) -> Self {
        Self { kind, text: content.to_string() }
    }

    fn digest(&self) -> String {
        digest(&self.text)
    }

    /// How another document names it.
    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": self.digest(), "size": self.text.len() })
    }
}

fn digest(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
        text
    })
}

/// The image's index, and the manifests that it names.
fn documents(name: &str, image: &KnownImage) -> (Document, Vec<Document>) {
    let platforms = [
        (image.linux, json!({ "architecture": "amd64", "os": "linux" })),
        (image.windows, json!({ "architecture": "amd64", "os": "windows", "os.version": WINDOWS_BUILD })),
    ];
    let (mut listed, mut manifests) = (Vec::new(), Vec::new());
    for (_, platform) in platforms.into_iter().filter(|(there, _)| *there) {
        let layer = digest(&format!("{name} {platform}"));
        let mut config = platform.clone();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [layer] });
        let manifest = Document::new(
            MANIFEST,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST,
                "config": Document::new(CONFIG, &config).descriptor(),
                "layers": [{ "mediaType": LAYER, "digest": layer, "size": image.bytes }] }),
        );
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] = platform;
        listed.push(descriptor);
        manifests.push(manifest);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    (Document::new(INDEX, &index), manifests)
}

/// Answers everything below `/v2`.
pub(super) fn answer(app: &App, call: &Call) -> Response<Body> {
    let mut response = route(app, call).unwrap_or_else(|refusal| refusal.response(call));
    set_header(&mut response, "docker-distribution-api-version", "registry/2.0");
    response
}

fn route(app: &App, call: &Call) -> Result<Response<Body>, Refusal> {
    if call.method != Method::GET && call.method != Method::HEAD {
        let message = "the lab's registry is read only";
        return Err(Refusal { status: 405, code: "UNSUPPORTED", message, detail: Value::Null });
    }
    let path = call.segments();
    match path[1..] {
        [] | [""] => Ok(shown(call, "application/json", "{}")),
        [ref repository @ .., "tags", "list"] if !repository.is_empty() => {
            let name = repository.join("/");
            let tags: BTreeSet<_> = images_of(app, call, &name)?
                .into_iter()
                .filter(|(reference, image)| image.there && !reference.version.contains(':'))
                .map(|(reference, _)| reference.version)
                .collect();
            Ok(shown(call, "application/json", &json!({ "name": name, "tags": tags }).to_string()))
        }
        [ref repository @ .., "manifests", version] if !repository.is_empty() => {
            let name = repository.join("/");
            let (digest, document) = manifest(&images_of(app, call, &name)?, version)?;
            let mut response = shown(call, document.kind, &document.text);
            set_header(&mut response, "docker-content-digest", &digest);
            set_header(&mut response, "etag", &format!("\"{digest}\""));
            Ok(response)
        }
        [ref repository @ .., "blobs", digest] if !repository.is_empty() => {
            images_of(app, call, &repository.join("/"))?;
            let detail = json!({ "digest": digest });
            Err(Refusal { status: 404, code: "BLOB_UNKNOWN", message: "blob unknown to registry", detail })
        }
        _ => Err(Refusal {
            status: 404,
            code: "NAME_INVALID",
            message: "invalid repository name",
            detail: Value::Null,
        }),
    }
}

/// The images of a repository, deleted ones among them. A repository whose images are all gone is not there any more.
fn images_of(app: &App, call: &Call, name: &str) -> Result<Vec<(Reference, KnownImage)>, Refusal> {
    let known = app.lab.with(|world| world.known_images());
    let all = known.into_iter().map(|(image, known)| (Reference::of(&image), known));
    let of_name: Vec<_> = all.filter(|(reference, _)| reference.repository == name).collect();
    let asked = call.parameter("ns").or_else(|| call.header("host"));
    let of_host: Vec<_> =
        of_name.iter().filter(|(reference, _)| asked == Some(reference.host.as_str())).cloned().collect();
    let found = if of_host.is_empty() && call.parameter("ns").is_none() { of_name } else { of_host };
    if found.iter().any(|(_, image)| image.there) {
        return Ok(found);
    }
    let detail = json!({ "name": name });
    Err(Refusal {
        status: 404,
        code: "NAME_UNKNOWN",
        message: "repository name not known to registry",
        detail,
    })
}

/// What a tag or a digest means in a repository, with its digest.
fn manifest(images: &[(Reference, KnownImage)], version: &str) -> Result<(String, Document), Refusal> {
    let there = || images.iter().filter(|(_, image)| image.there);
    let whole = |reference: &Reference| format!("{}/{}", reference.repository, reference.version);
    if let Some((reference, image)) = there().find(|(reference, _)| reference.version == version) {
        let (index, _) = documents(&whole(reference), image);
        // An image that the cluster names by its digest is there under that digest, whatever the lab would have made of it.
        let digest = if version.contains(':') { version.to_owned() } else { index.digest() };
        return Ok((digest, index));
    }
    for (reference, image) in there() {
        let (index, manifests) = documents(&whole(reference), image);
        if let Some(found) = manifests.into_iter().chain([index]).find(|found| found.digest() == version) {
            return Ok((version.to_owned(), found));
        }
    }
    let detail = if version.contains(':') { json!({ "Digest": version }) } else { json!({ "Tag": version }) };
    Err(Refusal { status: 404, code: "MANIFEST_UNKNOWN", message: "manifest unknown", detail })
}

/// An answer; one to HEAD says how long it would be.
fn shown(call: &Call, kind: &str, text: &str) -> Response<Body> {
    let mut response = if call.method == Method::HEAD { call::empty(200) } else { call::text(200, text) };
    set_header(&mut response, "content-type", kind);
    set_header(&mut response, "content-length", &text.len().to_string());
    response
}

/// A refusal in the form of the distribution specification.
struct Refusal {
    status: u16,
    code: &'static str,
    message: &'static str,
    detail: Value,
}

impl Refusal {
    fn response(&self, call: &Call) -> Response<Body> {
        let body =
            json!({ "errors": [{ "code": self.code, "message": self.message, "detail": self.detail }] });
        match call.method {
            Method::HEAD => call::empty(self.status),
            _ => call::json(self.status, &body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_as_docker_reads_it() {
        for (image, host, repository, version) in [
            ("nginx", "docker.io", "library/nginx", "latest"),
            ("grafana/loki:3.1", "docker.io", "grafana/loki", "3.1"),
            ("registry.example.com/shop/web:1.0", "registry.example.com", "shop/web", "1.0"),
            ("localhost:5000/web", "localhost:5000", "web", "latest"),
            ("mcr.microsoft.com/a/b:v1@sha256:00ff", "mcr.microsoft.com", "a/b", "sha256:00ff"),
        ] {
            let read = Reference::of(image);
            assert_eq!(
                (read.host.as_str(), read.repository.as_str(), read.version.as_str()),
                (host, repository, version)
            );
        }
    }
}
