//! The option of libcurl for WebSockets, which neither the curl crate nor curl-sys declares. No framing is done here.

use curl::easy::Easy2;
use libc::c_long;

use super::options::{check, set_protocols};

/// `CURLOPT_WS_OPTIONS`, since libcurl 7.86.
const WS_OPTIONS: curl_sys::CURLoption = 320;
/// `CURLWS_RAW_MODE`: after the switch of protocols libcurl hands bytes through as they are.
const RAW_MODE: c_long = 1;

/// Makes the handle's next transfer one for a WebSocket and nothing else.
///
/// Fails where the linked libcurl has no WebSockets.
pub(crate) fn set_websocket<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    set_protocols(easy, c"ws", c"ws,wss")?;
    // SAFETY: the option takes a long.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), WS_OPTIONS, RAW_MODE) })
}
