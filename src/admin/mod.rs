//! The side for operators. On a port, `/live`, `/ready`, `/metrics`, `/status`: it says, and never does. What does is [`actions`].

pub mod actions;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::net::body::{self, Body};
use crate::net::server::{Handler, Peer};

/// What the endpoints say. No secret and no object's name may be in it.
pub trait State: Send + Sync + 'static {
    /// Whether requests can be served now, or why not.
    fn ready(&self) -> Result<(), String>;
    /// The text that Prometheus reads.
    fn metrics(&self) -> String;
    /// What an operator wants to see.
    fn status(&self) -> serde_json::Value;
}

/// Serves a [`State`].
pub struct Admin<S>(pub S);

fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    answer(status, "application/json", format!("{value}\n"))
}

impl<S: State> Handler for Admin<S> {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({ "error": "only GET and HEAD" }));
        }
        match request.uri().path() {
            "/live" => json(StatusCode::OK, &serde_json::json!({ "live": true })),
            "/ready" => match self.0.ready() {
                Ok(()) => json(StatusCode::OK, &serde_json::json!({ "ready": true })),
                Err(reason) => {
                    json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "ready": false, "reason": reason }))
                }
            },
            "/metrics" => {
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                answer(StatusCode::OK, content_type, self.0.metrics())
            }
            "/status" => json(StatusCode::OK, &self.0.status()),
            _ => json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "/live, /ready, /metrics or /status" })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::body::collect;

    struct Fixed(Result<(), String>);

    impl State for Fixed {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }
        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
        fn status(&self) -> serde_json::Value {
            serde_json::json!({ "version": "1" })
        }
    }

    async fn get(admin: &Admin<Fixed>, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(body::empty()).unwrap();
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), tls: false };
        let response = admin.handle(request, peer).await;
        let status = response.status().as_u16();
        let text = collect(response.into_body(), 1000).await.unwrap();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_say_what_is() {
        let ready = Admin(Fixed(Ok(())));
        assert_eq!(get(&ready, "GET", "/live").await.0, 200);
        assert_eq!(get(&ready, "GET", "/ready").await.0, 200);
        assert_eq!(get(&ready, "GET", "/metrics").await, (200, "# EOF\n".to_owned()));
        assert_eq!(get(&ready, "GET", "/status").await.1, "{\"version\":\"1\"}\n");
        assert_eq!(get(&ready, "GET", "/else").await.0, 404);
        assert_eq!(get(&ready, "POST", "/ready").await.0, 405);
        let not = Admin(Fixed(Err("draining".to_owned())));
        let (status, text) = get(&not, "GET", "/ready").await;
        assert_eq!((status, text.contains("draining")), (503, true));
        assert_eq!(get(&not, "GET", "/live").await.0, 200);
    }
}
