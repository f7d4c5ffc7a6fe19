//! The server as a whole, over a socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::http::{Server, ServerOptions};

fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn options(name: &str) -> ServerOptions {
    let token_dir = std::env::temp_dir().join(format!("cluster-lab-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&token_dir).unwrap();
    ServerOptions { port: 0, time_scale: 10_000.0, token_dir }
}

#[test]
fn a_server_serves_lets_time_pass_and_says_how_to_reach_it() {
    let lab = Lab::new(&Scenario::demo(), 1);
    let options = options("serves");
    let server = Server::start(lab.clone(), &options).unwrap();
    assert!(ask(&server, "GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("pong"));
    let config = server.drover_toml();
    let file = options.token_dir.join("rancher-token");
    let token = std::fs::read_to_string(&file).unwrap();
    for expected in [
        format!("url = \"http://{}\"", server.address()),
        "rancher_id = \"c-m-demo0001\"".into(),
        file.display().to_string(),
    ] {
        assert!(config.contains(&expected), "{config}");
    }
    let request = format!(
        "GET {K8S}/version HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    assert!(ask(&server, &request).contains("v1.34.2"));
    assert!(!config.contains(&token), "tokens are in files only");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // The lab's own events happen without any request: a machine that was asked for becomes a node.
    let spec = Scenario::demo().pool_spec(&Scenario::demo().pools[1]);
    let machine = lab.with(|world| world.add_machine(&spec));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut seen = 0;
        while !lab.with(|world| world.node_is_ready(&machine)) {
            seen = lab.changed_since(seen).await;
        }
    });
    server.shutdown();
    std::fs::remove_dir_all(&options.token_dir).unwrap();
}

#[test]
fn what_cannot_be_served_is_refused() {
    let lab = Lab::new(&Scenario::demo(), 1);
    let mut options = options("refused");
    options.time_scale = 0.0;
    assert!(Server::start(lab.clone(), &options).is_err());
    options.time_scale = 1.0;
    let first = Server::start(lab.clone(), &options).unwrap();
    options.port = first.address().port();
    assert!(Server::start(lab.clone(), &options).is_err(), "the port is taken");
    options.port = 0;
    std::fs::remove_dir_all(&options.token_dir).unwrap();
    assert!(Server::start(lab, &options).is_err(), "no place for the tokens");
}
