use std::fmt;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, on},
};
use utoipa::{Path, openapi::OpenApi};
use utoipa_axum::PathItemExt;

/// Makes a document of the routes of one part of a daemon.
pub(super) type Describe = fn() -> OpenApi;

/// Routes to handlers, and what these say of themselves (`utoipa::path`). An `OpenAPI` document is made of that only when it is asked for: it takes a
/// megabyte of code, which is not in memory before.
pub struct Routes<S = ()> {
    router: Router<S>,
    described: Vec<Describe>,
}

/// [`Routes`] to these handlers.
#[macro_export]
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {
        $crate::http::utoipa_axum::paste! {{
            #[derive(utoipa::OpenApi)]
            #[openapi(paths($($handler),+))]
            struct Described;

            let router = $crate::http::axum::Router::new();
            $(let router = $crate::http::route::<[<__path_ $handler>], _, _, _>(router, $handler);)+
            $crate::http::Routes::new(router, <Described as utoipa::OpenApi>::openapi)
        }}
    };
}

/// Adds the route to a handler, at the path and for the methods that `P` has.
#[doc(hidden)]
pub fn route<P, H, T, S>(router: Router<S>, handler: H) -> Router<S>
where
    P: Path,
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let methods = P::methods();
    let methods = methods.iter().map(PathItemExt::to_method_filter);
    match methods.reduce(MethodFilter::or) {
        Some(methods) => router.route(&P::path(), on(methods, handler)),
        None => router,
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub fn new(router: Router<S>, described: fn() -> OpenApi) -> Self {
        Self {
            router,
            described: vec![described],
        }
    }

    /// With the routes of another part, too.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.described.extend(other.described);
        Self {
            router: self.router.merge(other.router),
            described: self.described,
        }
    }

    /// The same routes, with the state or the layers that this adds.
    pub fn map<T>(self, change: impl FnOnce(Router<S>) -> Router<T>) -> Routes<T> {
        Routes {
            router: change(self.router),
            described: self.described,
        }
    }

    /// The router, and what is said of its routes.
    pub(super) fn into_parts(self) -> (Router<S>, Vec<Describe>) {
        (self.router, self.described)
    }
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}
