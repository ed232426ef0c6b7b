//! What can go wrong with a payment, in Stripe's own words where it has spoken. Never holds the key.

use std::fmt;

use http::StatusCode;
use serde_json::Value;

use crate::error::Error;

/// A request to Stripe failed.
///
/// Where it was a write of which no answer came, it may have been carried out all the same: sent again with the same
/// [`idempotency_key`](Self::idempotency_key) it is not carried out twice.
#[derive(Clone, Debug)]
pub struct StripeError(Box<Parts>);

#[derive(Clone, Debug, Default)]
struct Parts {
    message: String,
    error_type: String,
    code: Option<String>,
    param: Option<String>,
    decline_code: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
    idempotency_key: Option<String>,
    source: Option<Error>,
}

/// The type of errors that are made here: nothing was sent.
const INVALID: &str = "invalid_argument";
/// No whole answer came.
const CONNECTION: &str = "api_connection_error";
/// Stripe's own for trouble on its side; here also for answers that are none of its.
const API: &str = "api_error";

impl StripeError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self(Box::new(Parts { message: message.into(), error_type: INVALID.into(), ..Parts::default() }))
    }

    pub(super) fn connection(error: Error) -> Self {
        Self(Box::new(Parts {
            message: error.chain(),
            error_type: CONNECTION.into(),
            code: Some(error.kind().name().into()),
            source: Some(error),
            ..Parts::default()
        }))
    }

    /// An answer of success that is none of Stripe's.
    pub(super) fn malformed(status: StatusCode, detail: &str) -> Self {
        Self(Box::new(Parts {
            message: format!("the answer is none of Stripe's: {detail}"),
            error_type: API.into(),
            status: Some(status.as_u16()),
            ..Parts::default()
        }))
    }

    /// An answer that tells of an error.
    pub(super) fn answered(status: StatusCode, body: &str) -> Self {
        let answer: Value = serde_json::from_str(body).unwrap_or_default();
        let error = &answer["error"];
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        Self(Box::new(Parts {
            message: text("message").unwrap_or_else(|| format!("Stripe answered {status}")),
            error_type: text("type").unwrap_or_else(|| API.into()),
            code: text("code"),
            param: text("param"),
            decline_code: text("decline_code"),
            status: Some(status.as_u16()),
            ..Parts::default()
        }))
    }

    pub(super) fn with_request_id(mut self, id: Option<&str>) -> Self {
        self.0.request_id = id.map(str::to_owned);
        self
    }

    pub(super) fn with_idempotency_key(mut self, key: Option<&str>) -> Self {
        self.0.idempotency_key = key.map(str::to_owned);
        self
    }

    /// Whether nothing was sent, because what was asked for cannot be.
    pub fn is_invalid_argument(&self) -> bool {
        self.0.error_type == INVALID
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Stripe's word for the kind of error, like `card_error` or `invalid_request_error`. `api_connection_error` where no
    /// whole answer came, `invalid_argument` where nothing was sent.
    pub fn error_type(&self) -> &str {
        &self.0.error_type
    }

    /// Stripe's code, like `card_declined`; where no answer came, the name of the [`ErrorKind`](crate::ErrorKind).
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The parameter that is at fault.
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// Why the card's issuer declined.
    pub fn decline_code(&self) -> Option<&str> {
        self.0.decline_code.as_deref()
    }

    /// The status of the answer.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What Stripe's support finds the request by.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The key that the write was sent with, for another try of it.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }
}

impl fmt::Display for StripeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for StripeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message has told all of it.
        self.0.source.as_ref().and_then(std::error::Error::source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_and_garbage_is_none() {
        let body = r#"{"error": {"type": "card_error", "code": "card_declined", "decline_code": "lost_card",
            "param": "payment_method", "message": "Your card was declined."}}"#;
        let error = StripeError::answered(StatusCode::PAYMENT_REQUIRED, body).with_request_id(Some("req_1"));
        assert_eq!(error.to_string(), "Your card was declined.");
        let told = [error.code(), error.decline_code(), error.param(), error.request_id(), error.idempotency_key()];
        assert_eq!(told, [Some("card_declined"), Some("lost_card"), Some("payment_method"), Some("req_1"), None]);
        assert_eq!((error.error_type(), error.status()), ("card_error", Some(402)));
        for body in ["", "<html>", "[]", "{\"error\": \"text\"}", "{\"error\": {\"message\": 5}}"] {
            let error = StripeError::answered(StatusCode::BAD_GATEWAY, body);
            assert_eq!(error.to_string(), "Stripe answered 502 Bad Gateway", "{body}");
            assert_eq!((error.error_type(), error.code()), ("api_error", None));
        }
    }
}
