//! Goes along every route that the description of the interface names, again and again, beside readers and writers: none may
//! answer with a fault of the server's, whatever the stores do.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::world::World;
use crate::harness::socket::Socket;

/// A request of the description's own examples.
struct Step {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Starts one that wanders until the world is stopped; answers how many requests were granted, and of how many.
pub(super) fn start(world: &Arc<World>, addresses: &[String]) -> JoinHandle<(u64, u64)> {
    let (world, addresses) = (world.clone(), addresses.to_owned());
    tokio::spawn(async move {
        let steps = steps(&world.things[0].id);
        let http = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let (mut granted, mut asked) = (0, 0);
        while !world.is_stopped() {
            for address in &addresses {
                for step in &steps {
                    granted += u64::from(step.go(&http, address).await);
                    asked += 1;
                }
                subscribe(address).await;
            }
        }
        (granted, asked)
    })
}

impl Step {
    async fn go(&self, http: &Client, address: &str) -> bool {
        let url = format!("http://{address}{}", self.path);
        let mut request = http.request(self.method.clone(), &url);
        if let Some(body) = &self.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap_or_else(|lost| panic!("{} {url}: {lost:?}", self.method));
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_else(|lost| panic!("{} {url}: {lost:?}", self.method));
        assert!(status != 500 && !text.contains("\"INTERNAL\""), "{} {url}: {status} {text}", self.method);
        status < 400
    }
}

/// Wants to be told of changes, and goes away.
async fn subscribe(address: &str) {
    let mut socket = Socket::open(&format!("http://{address}")).await;
    socket.begin("1", "subscription { assetChanged { versionId } }", json!({})).await;
    socket.close(1000).await;
}

fn steps(version: &str) -> Vec<Step> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/rest/openapi.json"));
    let described: Value = serde_json::from_str(&text.expect("the description")).expect("JSON");
    let resolved = |value: &Value| -> Value {
        let name = value["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        name.and_then(|path| described.pointer(path)).unwrap_or(value).clone()
    };
    let mut steps = Vec::new();
    for (path, operations) in described["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
                continue;
            }
            let (mut path, mut query) = (path.clone(), String::new());
            let own = [&operations["parameters"], &operation["parameters"]].map(|list| list.as_array().cloned());
            for parameter in own.into_iter().flatten().flatten().map(|parameter| resolved(&parameter)) {
                let name = parameter["name"].as_str().expect("a name");
                let example = [&parameter["example"], &resolved(&parameter["schema"])["example"]];
                let example = example.into_iter().find_map(Value::as_str).unwrap_or("none");
                let value = if name == "versionId" { version } else { example };
                let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                match parameter["in"].as_str() {
                    Some("path") => path = path.replace(&format!("{{{name}}}"), &value.replace('+', "%20")),
                    Some("query") if parameter["required"] == true => query += &format!("&{name}={value}"),
                    _ => {}
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"];
            let examples = body["examples"].as_object().and_then(|all| all.values().next());
            let mut bodies = [Some(&body["example"]), examples.map(|e| &e["value"])].into_iter().flatten();
            let body = bodies.find(|body| !body.is_null()).cloned();
            let path = if query.is_empty() { path } else { format!("{path}?{}", &query[1..]) };
            steps.push(Step { body: body.or((method == Method::POST).then(|| json!({}))), method, path });
        }
    }
    assert!(steps.len() > 50, "{} steps", steps.len());
    steps
}
