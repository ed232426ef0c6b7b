//! What a client must make of `Set-Cookie`, as tables: headers in, the `Cookie` header of a later request out.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Uri};

use super::CookieJar;
use super::date::from_unix;

const SET: &str = "http://home.example.org:8888/cookie-parser";
const ASK: &str = "http://home.example.org:8888/cookie-parser-result";

fn url(text: &str) -> Uri {
    text.parse().expect("a URL")
}

/// 2026-07-01 12:00:00 UTC
fn now() -> SystemTime {
    from_unix(1_782_907_200)
}

fn store(jar: &CookieJar, from: &str, headers: &[&str], now: SystemTime) {
    let values: Vec<_> =
        headers.iter().map(|text| HeaderValue::from_bytes(text.as_bytes()).expect("a value")).collect();
    jar.store(&url(from), values.iter(), now);
}

fn sent(jar: &CookieJar, to: &str, now: SystemTime) -> String {
    let value = jar.header_for(&url(to), now);
    value.map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[track_caller]
fn check(from: &str, headers: &[&str], to: &str, expected: &str) {
    let jar = CookieJar::new();
    store(&jar, from, headers, now());
    // A second later, as what is due to expire at once has to be gone.
    assert_eq!(sent(&jar, to, now() + Duration::from_secs(1)), expected, "{headers:?} from {from} to {to}");
}

#[track_caller]
fn same_place(cases: &[(&[&str], &str)]) {
    for (headers, expected) in cases {
        check(SET, headers, ASK, expected);
    }
}

#[test]
fn names_and_values_are_what_stands_around_the_first_equals_sign() {
    same_place(&[
        (&["a=b"], "a=b"),
        (&["a=b; "], "a=b"),
        (&["a=b;"], "a=b"),
        (&["a=b;c=d;;;e"], "a=b"),
        (&["  a  =  b  "], "a=b"),
        (&["\ta\t=\tb\t; Secure2"], "a=b"),
        (&["a=b=c=d"], "a=b=c=d"),
        (&["a=="], "a=="),
        (&["a="], "a="),
        (&["a=;"], "a="),
        (&["a= ; x"], "a="),
        (&["a=b c  d"], "a=b c  d"),
        (&["a b=c"], "a b=c"),
        (&["a=\"b\""], "a=\"b\""),
        (&["a=\"b;c\""], "a=\"b"),
        (&["a=\" b \""], "a=\" b \""),
        (&["\"a=b\""], "\"a=b\""),
        (&["\"a\"=b"], "\"a\"=b"),
        (&["a='b'"], "a='b'"),
        (&["a=b,c=d"], "a=b,c=d"),
        (&["a=b, c=d; path=/"], "a=b, c=d"),
        (&["a=\\\"b\\\""], "a=\\\"b\\\""),
        (&["a=%22%3B"], "a=%22%3B"),
        (&["$Version=1"], "$Version=1"),
        (&["a@b/c?d=e"], "a@b/c?d=e"),
        (&["expires=never"], "expires=never"),
        (&["a=\tb\tc"], "a=b\tc"),
        (&["\u{e9}=\u{1f980}"], "\u{e9}=\u{1f980}"),
    ]);
}

#[test]
fn a_cookie_may_lack_its_name_but_not_all() {
    same_place(&[
        (&["a"], "a"),
        (&["=a"], "a"),
        (&[" = a "], "a"),
        (&["==a"], "=a"),
        (&["=a=b"], "a=b"),
        (&["a", "b"], "b"),
        (&["=a", "a=b"], "a; a=b"),
        (&["a; b=c"], "a"),
        (&[""], ""),
        (&[" "], ""),
        (&["="], ""),
        (&[" = "], ""),
        (&[";"], ""),
        (&["; a=b"], ""),
        (&["=; a=b"], ""),
        (&["a=b", ""], "a=b"),
        (&["a=b", "="], "a=b"),
    ]);
}

#[test]
fn attributes_are_read_in_any_case_and_unknown_ones_skipped() {
    same_place(&[
        (&["a=b; Secure"], ""),
        (&["a=b; sEcUrE"], ""),
        (&["a=b; secure=no"], ""),
        (&["a=b;SECURE;"], ""),
        (&["a=b; \"secure\""], "a=b"),
        (&["a=b; secure secure"], "a=b"),
        (&["a=b; =secure"], "a=b"),
        (&["a=b; HTTPONLY"], "a=b"),
        (&["a=b; Foo; Bar=Baz; =; ==x"], "a=b"),
        (&["a=b; sameSITE=LAX"], "a=b"),
        (&["a=b; SameSite=None"], ""),
        (&["a=b; SameSite=None; SameSite=Strict"], "a=b"),
        (&["a=b; SameSite=whatever"], "a=b"),
        (&["a=b; Path = /elsewhere"], ""),
        (&["a=b; pAtH=/elsewhere"], ""),
        (&["a=b; DOMAIN=elsewhere.org"], ""),
        (&["a=b; Version=1; Comment=\"x\""], "a=b"),
    ]);
}

#[test]
fn max_age_beats_expires_and_nonsense_is_skipped() {
    same_place(&[
        (&["a=b; Max-Age=10"], "a=b"),
        (&["a=b; max-age=0"], ""),
        (&["a=b; MAX-AGE=-1"], ""),
        (&["a=b; Max-Age=-99999999999999999999999"], ""),
        (&["a=b; Max-Age=99999999999999999999999"], "a=b"),
        (&["a=b; Max-Age="], "a=b"),
        (&["a=b; Max-Age"], "a=b"),
        (&["a=b; Max-Age=-"], "a=b"),
        (&["a=b; Max-Age=+0"], "a=b"),
        (&["a=b; Max-Age=0.5"], "a=b"),
        (&["a=b; Max-Age=0x0"], "a=b"),
        (&["a=b; Max-Age=\"0\""], "a=b"),
        (&["a=b; Max-Age=00"], ""),
        (&["a=b; Max-Age=10; Max-Age=0"], ""),
        (&["a=b; Max-Age=0; Max-Age=10"], "a=b"),
        (&["a=b; Max-Age=0; Max-Age=x"], ""),
        (&["a=b; Expires=Thu, 01 Jan 2026 00:00:00 GMT"], ""),
        (&["a=b; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], "a=b"),
        (&["a=b; expires=Thu 01-01-2026"], "a=b"),
        (&["a=b; Expires=Thu, 01 Jan 2026 00:00:00 GMT; Max-Age=10"], "a=b"),
        (&["a=b; Max-Age=0; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], ""),
        (&["a=b; Max-Age=x; Expires=Thu, 01 Jan 2026 00:00:00 GMT"], ""),
        (&["a=b; Expires=Thu, 01 Jan 2026 00:00:00 GMT; Expires=nonsense"], ""),
        (&["a=b; Expires=Thu, 01 Jan 2026 00:00:00 GMT; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], "a=b"),
        (&["a=b; Expires=Thu, 01-Jan-1970 00:00:00 GMT"], ""),
        (&["a=b; Expires=\"Thu, 01 Jan 2026 00:00:00 GMT\""], ""),
        (&["a=b; Expires=Wed, 01 Jan 100 00:00:00 GMT"], "a=b"),
        (&["a=b; Expires=0"], "a=b"),
        (&["a=b; Expires"], "a=b"),
    ]);
}

#[test]
fn a_later_cookie_replaces_or_removes_the_one_before() {
    same_place(&[
        (&["a=1", "a=2"], "a=2"),
        (&["a=1", "A=2"], "a=1; A=2"),
        (&["a=1", "b=2", "a=3"], "a=3; b=2"),
        (&["a=1", "a=2; Max-Age=0"], ""),
        // The default path of this page is the root.
        (&["a=1; Path=/", "a=2"], "a=2"),
        (&["a=1", "a=2; Path=/cookie-parser-result"], "a=2; a=1"),
        (&["a=1; Path=/", "a=2; Path=/; Max-Age=0"], ""),
        (&["a=1", "a=2; Path=/other; Max-Age=0"], "a=1"),
        (&["a=1", "a=2; Domain=home.example.org"], "a=1; a=2"),
        (&["a=1; Domain=home.example.org", "a=2; Domain=.HOME.example.org"], "a=2"),
        (&["a=1", "a=2; Domain=home.example.org; Max-Age=0"], "a=1"),
    ]);
}

#[test]
fn a_path_is_a_prefix_that_ends_at_a_slash() {
    let from = "http://home.example.org/a/b/page";
    for (header, to, expected) in [
        ("x=1", "/a/b", "x=1"),
        ("x=1", "/a/b/", "x=1"),
        ("x=1", "/a/b/c?d=e", "x=1"),
        ("x=1", "/a/bc", ""),
        ("x=1", "/a", ""),
        ("x=1; Path=/", "/", "x=1"),
        ("x=1; Path=/a", "/a/z", "x=1"),
        ("x=1; Path=/a/", "/a", ""),
        ("x=1; Path=/a/", "/a/", "x=1"),
        ("x=1; Path=/other", "/other/page", "x=1"),
        ("x=1; Path=", "/a/b", "x=1"),
        ("x=1; Path", "/a/b", "x=1"),
        ("x=1; Path=a", "/a/b", "x=1"),
        ("x=1; Path=a", "/", ""),
        ("x=1; Path=\"/a\"", "/a/b", "x=1"),
        ("x=1; Path=\"/a\"", "/a", ""),
        ("x=1; Path=/z; Path=/a", "/a", "x=1"),
        ("x=1; Path=/z; Path=/a", "/z", ""),
        ("x=1; Path=/z; Path=", "/a/b", "x=1"),
        ("x=1; Path=/A", "/a", ""),
        ("x=1; Path=/a%2Fb", "/a/b", ""),
        ("x=1; Path=/a?b", "/a", ""),
        ("x=1; Path=/a;b", "/a", "x=1"),
        ("x=1; Path=/a", "/z/../a", "x=1"),
        ("x=1; Path=/z", "/z/../a", ""),
    ] {
        check(from, &[header], &format!("http://home.example.org{to}"), expected);
    }
}

#[test]
fn a_domain_is_the_host_or_one_above() {
    for (header, from, to, expected) in [
        ("x=1", "home.example.org", "home.example.org", "x=1"),
        ("x=1", "home.example.org", "sub.home.example.org", ""),
        ("x=1", "home.example.org", "example.org", ""),
        ("x=1", "HOME.Example.ORG", "home.example.org", "x=1"),
        ("x=1; Domain=home.example.org", "home.example.org", "sub.home.example.org", "x=1"),
        ("x=1; Domain=.home.example.org", "home.example.org", "sub.home.example.org", "x=1"),
        ("x=1; Domain=.home.example.org", "home.example.org", "home.example.org", "x=1"),
        ("x=1; Domain=example.org", "home.example.org", "example.org", "x=1"),
        ("x=1; Domain=example.org", "home.example.org", "other.example.org", "x=1"),
        ("x=1; Domain=EXAMPLE.org", "home.example.org", "a.b.example.org", "x=1"),
        ("x=1; Domain=example.org", "home.example.org", "notexample.org", ""),
        ("x=1; Domain=sub.home.example.org", "home.example.org", "sub.home.example.org", ""),
        ("x=1; Domain=other.org", "home.example.org", "other.org", ""),
        ("x=1; Domain=ome.example.org", "home.example.org", "home.example.org", ""),
        ("x=1; Domain=..example.org", "home.example.org", "home.example.org", ""),
        ("x=1; Domain=.", "home.example.org", "home.example.org", "x=1"),
        ("x=1; Domain=.", "home.example.org", "a.home.example.org", ""),
        ("x=1; Domain=", "home.example.org", "home.example.org", "x=1"),
        ("x=1; Domain", "home.example.org", "a.home.example.org", ""),
        ("x=1; Domain=other.org; Domain=", "home.example.org", "home.example.org", "x=1"),
        ("x=1; Domain=example.org; Domain=other.org", "home.example.org", "home.example.org", ""),
        ("x=1; Domain=other.org; Domain=example.org", "home.example.org", "example.org", "x=1"),
        ("x=1; Domain=\"example.org\"", "home.example.org", "example.org", ""),
        ("x=1; Domain=example.org:80", "home.example.org", "example.org", ""),
        ("x=1; Domain=http://example.org", "home.example.org", "example.org", ""),
        ("x=1; Domain=example.org.", "home.example.org", "home.example.org", ""),
        ("x=1", "home.example.org.", "home.example.org", ""),
        ("x=1", "home.example.org.", "home.example.org.", "x=1"),
        ("x=1; Domain=example.org.", "home.example.org.", "a.example.org.", "x=1"),
        ("x=1; Domain=org", "home.example.org", "home.example.org", ""),
        ("x=1; Domain=.org", "home.example.org", "other.org", ""),
        ("x=1; Domain=org.", "home.example.org.", "other.org.", ""),
        ("x=1; Domain=org", "org", "org", "x=1"),
        ("x=1; Domain=org", "org", "example.org", ""),
        ("x=1; Domain=localhost", "localhost", "localhost", "x=1"),
        ("x=1; Domain=localhost", "a.localhost", "localhost", ""),
        ("x=1; Domain=127.0.0.1", "127.0.0.1", "127.0.0.1", "x=1"),
        ("x=1; Domain=.127.0.0.1", "127.0.0.1", "127.0.0.1", "x=1"),
        ("x=1; Domain=0.0.1", "127.0.0.1", "127.0.0.1", ""),
        ("x=1", "127.1", "127.0.0.1", "x=1"),
        ("x=1", "[::1]", "[0:0:0:0:0:0:0:1]", "x=1"),
        ("x=1", "home.example.org:81", "home.example.org:82", "x=1"),
        ("x=1; Domain=xn--bcher-kva.example", "a.XN--bcher-kva.example", "xn--bcher-kva.example", "x=1"),
        ("x=1; Domain=b\u{fc}cher.example", "xn--bcher-kva.example", "xn--bcher-kva.example", ""),
    ] {
        check(&format!("http://{from}/"), &[header], &format!("http://{to}/"), expected);
    }
}

#[cfg(feature = "psl")]
#[test]
fn nobody_sets_a_cookie_for_a_public_suffix() {
    for (header, from, to, expected) in [
        ("x=1; Domain=co.uk", "shop.co.uk", "shop.co.uk", ""),
        ("x=1; Domain=.co.uk", "shop.co.uk", "other.co.uk", ""),
        ("x=1; Domain=co.uk.", "shop.co.uk.", "shop.co.uk.", ""),
        ("x=1; Domain=shop.co.uk", "www.shop.co.uk", "shop.co.uk", "x=1"),
        ("x=1; Domain=github.io", "someone.github.io", "other.github.io", ""),
        ("x=1; Domain=github.io", "github.io", "github.io", "x=1"),
        ("x=1; Domain=github.io", "github.io", "someone.github.io", ""),
        ("x=1", "co.uk", "co.uk", "x=1"),
        ("x=1; Domain=uk", "shop.co.uk", "shop.co.uk", ""),
    ] {
        check(&format!("http://{from}/"), &[header], &format!("http://{to}/"), expected);
    }
}

#[test]
fn secure_cookies_stay_with_secure_origins() {
    for (header, from, to, expected) in [
        ("x=1; Secure", "https://example.org/", "https://example.org/", "x=1"),
        ("x=1; Secure", "https://example.org/", "wss://example.org/", "x=1"),
        ("x=1; Secure", "https://example.org/", "http://example.org/", ""),
        ("x=1; Secure", "https://example.org/", "ws://example.org/", ""),
        ("x=1; Secure", "http://example.org/", "https://example.org/", ""),
        ("x=1", "https://example.org/", "http://example.org/", "x=1"),
        ("x=1; Secure", "http://localhost:81/", "http://localhost:82/", "x=1"),
        ("x=1; Secure", "http://127.0.0.2/", "http://127.0.0.2/", "x=1"),
        ("x=1; Secure", "https://[::1]/", "http://[::1]/", "x=1"),
        ("x=1; Secure", "http://10.0.0.1/", "http://10.0.0.1/", ""),
        ("x=1; Secure", "http://notlocalhost/", "http://notlocalhost/", ""),
        ("x=1; SameSite=None; Secure", "https://example.org/", "https://example.org/", "x=1"),
        ("x=1; SameSite=None", "https://example.org/", "https://example.org/", ""),
    ] {
        check(from, &[header], to, expected);
    }
}

#[test]
fn cookies_in_clear_leave_secure_ones_alone() {
    for (first, second, from, expected) in [
        ("x=1; Secure", "x=2", "http://example.org/", "x=1"),
        ("x=1; Secure", "x=2; Max-Age=0", "http://example.org/", "x=1"),
        ("x=1; Secure; Path=/a", "x=2", "http://example.org/", "x=1; x=2"),
        ("x=1; Secure; Path=/a", "x=2; Path=/a", "http://example.org/", "x=1"),
        ("x=1; Secure; Path=/a", "x=2; Path=/a/b", "http://example.org/", "x=1"),
        ("x=1; Secure", "x=2; Domain=example.org", "http://sub.example.org/", "x=1"),
        ("x=1; Secure; Domain=example.org", "x=2", "http://sub.example.org/", "x=1"),
        ("x=1; Secure", "X=2", "http://example.org/", "x=1; X=2"),
        ("x=1; Secure", "x=2; Secure", "https://example.org/", "x=2"),
        ("x=1; Secure", "x=2", "https://example.org/", "x=2"),
        ("x=1", "x=2", "http://example.org/", "x=2"),
    ] {
        let jar = CookieJar::new();
        store(&jar, "https://example.org/", &[first], now());
        store(&jar, from, &[second], now());
        assert_eq!(sent(&jar, "https://example.org/a/b", now()), expected, "{first}, then {second} from {from}");
    }
}

#[test]
fn prefixes_of_names_hold_what_they_promise() {
    for (header, expected) in [
        ("__Secure-a=1; Secure", "__Secure-a=1"),
        ("__Secure-a=1", ""),
        ("__SECURE-a=1", ""),
        ("__secure-a=1; Secure; Domain=example.org", "__secure-a=1"),
        ("__Host-a=1; Secure; Path=/", "__Host-a=1"),
        ("__Host-a=1; Secure", ""),
        ("__Host-a=1; Path=/", ""),
        ("__Host-a=1; Secure; Path=/a", ""),
        ("__Host-a=1; Secure; Path=/; Domain=example.org", ""),
        ("__hOsT-a=1; Secure; Path=/; Domain=example.org", ""),
        ("__Host-a=1; Secure; Path=/; Domain=", "__Host-a=1"),
        ("__Secure-=1; Secure", "__Secure-=1"),
        ("__Secure=1", "__Secure=1"),
        ("a__Host-=1", "a__Host-=1"),
        ("__Host-a", ""),
        ("=__Host-a=1; Secure; Path=/", ""),
        ("=__secure-a=1", ""),
        ("__Secure-a; Secure", ""),
        ("=a__Host-a", "a__Host-a"),
    ] {
        check("https://www.example.org/", &[header], "https://www.example.org/a", expected);
    }
}

#[test]
fn longer_paths_come_first_and_then_older_cookies() {
    let jar = CookieJar::new();
    let later = |seconds| now() + Duration::from_secs(seconds);
    store(&jar, "http://example.org/a/b/", &["one=1; Path=/", "two=2; Path=/a", "three=3; Path=/a/b"], later(0));
    store(&jar, "http://example.org/a/b/", &["four=4; Path=/a", "five=5; Path=/"], later(1));
    // Replacing keeps the time of creation.
    store(&jar, "http://example.org/a/b/", &["one=6; Path=/", "two=7; Path=/a; Max-Age=100"], later(2));
    assert_eq!(sent(&jar, "http://example.org/a/b/c", later(3)), "three=3; two=7; four=4; one=6; five=5");
    // What had gone is new when it comes back.
    store(&jar, "http://example.org/a/b/", &["one=; Path=/; Max-Age=0"], later(4));
    store(&jar, "http://example.org/a/b/", &["one=8; Path=/"], later(5));
    assert_eq!(sent(&jar, "http://example.org/", later(6)), "five=5; one=8");
}

#[test]
fn cookies_end_at_their_time_and_after_400_days_at_most() {
    let jar = CookieJar::new();
    let days = |days: u64| now() + Duration::from_secs(days * 86_400);
    let headers = [
        "a=1; Max-Age=86400",
        "b=1; Max-Age=99999999999",
        "c=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "d=1",
        "e=1; Expires=Thu, 02 Jul 2026 12:00:01 GMT",
    ];
    store(&jar, SET, &headers, now());
    assert_eq!(sent(&jar, ASK, days(1) - Duration::from_secs(1)), "a=1; b=1; c=1; d=1; e=1");
    assert_eq!(sent(&jar, ASK, days(1)), "b=1; c=1; d=1; e=1");
    assert_eq!(sent(&jar, ASK, days(2)), "b=1; c=1; d=1");
    assert_eq!(sent(&jar, ASK, days(400)), "d=1");
}

#[test]
fn sizes_are_limited() {
    let value = |length: usize| "v".repeat(length);
    let fits = format!("n={}", value(4095));
    check(SET, &[&fits], ASK, &fits);
    check(SET, &[&format!("n={}", value(4096))], ASK, "");
    check(SET, &[&format!("{}=v", value(4095))], ASK, &format!("{}=v", value(4095)));
    check(SET, &[&value(4096)], ASK, &value(4096));
    check(SET, &[&value(4097)], ASK, "");
    // An attribute that is too long is skipped; the one before it holds.
    check(SET, &[&format!("a=b; Path=/x; Path=/{}", value(1024))], ASK, "");
    check(SET, &[&format!("a=b; Path=/{}", value(1024))], ASK, "a=b");
    check(SET, &[&format!("a=b; Path=/{}", value(1023))], ASK, "");
    check(SET, &[&format!("a=b; Domain={}", value(1025))], ASK, "a=b");
    check(SET, &[&format!("a=b; Domain={}", value(1024))], ASK, "");
}
