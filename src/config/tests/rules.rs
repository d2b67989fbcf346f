//! `all`, `any`, `not`, `authorization_details` and `cel`.

use super::mistakes::{ACCESS, check};
use super::{BASE, Folder};
use crate::config::Severity;
use crate::policy::{Access, ClaimRules};

fn rules(access: &str) -> ClaimRules {
    let text = BASE.replace(ACCESS, &format!("[routes.access]\n{access}\n"));
    let loaded = Folder::new().parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let [route] = &loaded.config.routes[..] else { panic!("one route") };
    let Access::Token(requirement) = &route.access else { panic!("not public") };
    *requirement.rules.clone().expect("rules")
}

#[test]
fn what_is_written_is_what_is_asked() {
    let written = rules(
        "all = [{ pointer = \"/a/b\", has = [\"x\", 1, true] }, { any = [{ pointer = \"/c\", present = true }] }]\n\
         any = [{ pointer = \"/d\", present = false }, { all = [{ pointer = \"/e\", has = [1] }], not = [{ pointer = \"/f\", has = [2] }] }]\n\
         not = [{ pointer = \"/g~1h\", has = [\"y\"] }]\n\
         authorization_details = [{ type = \"t\", identifier = \"i\", actions = [\"a\"], privileges = [\"p\"] }]\n\
         cel = '''\nclaims.x == 1 &&\n'read' in scopes\n'''",
    );
    let told: Vec<String> = written.conditions.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "all of (/a/b has one of \"x\", 1, true; all of (one of (/c is there)))",
            "one of (/d is not there; all of (all of (/e has one of 1); none of (/f has one of 2)))",
            "none of (/g~1h has one of \"y\")",
        ]
    );
    let details: Vec<String> =
        written.authorization_details.iter().map(ToString::to_string).collect();
    assert_eq!(details, [r#"type "t", identifier "i", actions "a", privileges "p""#]);
    let expression = written.expression.as_ref().unwrap().to_string();
    assert_eq!(expression, "claims.x == 1 && 'read' in scopes");
    assert_eq!(written.count(), 5);
}

#[test]
fn a_verdict_keeps_the_claims_that_rules_look_at() {
    let access = "access = { all = [{ pointer = \"/realm/roles\", has = [\"a\"] }, { not = [{ pointer = \"/sub\", has = [\"x\"] }] }], \
                  cel = \"has(claims.level) || claims.iss == 'x'\", authorization_details = [{ type = \"t\" }] }\n";
    let loaded = Folder::new().parse(&BASE.replace(ACCESS, access)).unwrap();
    let kept: Vec<&str> = loaded.config.servers[0].kept_claims.iter().map(|one| &**one).collect();
    assert_eq!(kept, ["authorization_details", "level", "realm"]);
}

#[test]
#[rustfmt::skip]
fn mistakes_in_conditions() {
    let at = "routes[0].access.all[0]";
    let wrong = |to: &'static str, marked: &'static str, what: String| {
        check(Severity::Error, &[(ACCESS, to, marked, Box::leak(what.into_boxed_str()))]);
    };
    wrong("access = { all = [] }\n", "[]", "routes[0].access.all: an empty list".into());
    wrong("access = { all = [{ pointer = \"roles\", has = [\"a\"] }] }\n", "\"roles\"", format!("{at}.pointer: a JSON pointer begins with `/`"));
    wrong("access = { all = [{ pointer = \"/aud\", has = [\"a\"] }] }\n", "\"/aud\"", format!("{at}.pointer: the audience is checked by `audiences`"));
    wrong("access = { all = [{ pointer = \"/a\", has = [] }] }\n", "[]", format!("{at}.has: an empty list"));
    wrong("access = { all = [{ pointer = \"/a\", has = [1.5] }] }\n", "1.5", format!("{at}.has[0]: "));
    wrong("access = { all = [{ pointer = \"/a\" }] }\n", "{ pointer = \"/a\" }", format!("{at}: `has` is missing"));
    wrong("access = { all = [{ has = [\"a\"] }] }\n", "{ has = [\"a\"] }", format!("{at}: `pointer` is missing"));
    wrong("access = { all = [{}] }\n", "{}", format!("{at}: it asks for nothing"));
    wrong("access = { all = [{ pointer = \"/a\", has = [1], present = true }] }\n", "{ pointer = \"/a\", has = [1], present = true }", format!("{at}: a condition is about one value, or it joins others"));
    wrong("access = { all = [{ pointer = \"/a\", has = [1], any = [{ pointer = \"/a\", has = [1] }] }] }\n", "{ pointer = \"/a\", has = [1], any = [{ pointer = \"/a\", has = [1] }] }", format!("{at}: a condition is about one value, or it joins others"));
    wrong("access = { all = [{ pionter = \"/a\", has = [1] }] }\n", "pionter", format!("{at}.pionter: unknown key `pionter`"));
    wrong("access = { all = [\"/a\"] }\n", "\"/a\"", format!("{at}: expected a table, found a string"));
    wrong("access = { authorization_details = [{ actions = [\"a\"] }] }\n", "{ actions = [\"a\"] }", "routes[0].access.authorization_details[0]: `type` is missing".into());
    wrong("access = { authorization_details = [{ type = \"t\", actions = \"a\" }] }\n", "\"a\"", "routes[0].access.authorization_details[0].actions: expected a list".into());
    wrong("access = { authorization_details = [{ type = \"t\", amount = 1 }] }\n", "amount", "routes[0].access.authorization_details[0].amount: unknown key `amount`".into());
}

#[test]
fn conditions_are_bounded_in_depth_and_number() {
    let folder = Folder::new();
    let told = |access: &str| {
        let text = BASE.replace(ACCESS, &format!("access = {{ {access} }}\n"));
        folder.parse(&text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    let nested = |depth: usize| {
        let test = "{ pointer = \"/a\", has = [1] }".to_owned();
        let inner = (1..depth).fold(test, |inner, _| format!("{{ not = [{inner}] }}"));
        format!("all = [{inner}]")
    };
    assert_eq!(told(&nested(8)), "");
    assert!(told(&nested(9)).contains("nested deeper than 8"));
    let many = |count: usize| {
        let tests = vec!["{ pointer = \"/a\", has = [1] }"; count].join(", ");
        format!("any = [{tests}]")
    };
    assert_eq!(told(&many(64)), "");
    assert!(told(&many(65)).contains("more than 64 conditions"));
    let details = |count: usize| {
        format!("authorization_details = [{}]", vec!["{ type = \"t\" }"; count].join(", "))
    };
    assert_eq!(told(&details(16)), "");
    assert!(told(&details(17)).contains("more than 16 objects"));
}

/// A mistake in an expression is shown where it is, also on another line; where the file writes the
/// text in another way than it means, the whole is shown.
#[test]
#[rustfmt::skip]
fn mistakes_in_expressions_are_shown_at_their_place() {
    check(Severity::Error, &[
        (ACCESS, "access = { cel = \"\" }\n", "\"\"", "routes[0].access.cel: an empty string"),
        (ACCESS, "access = { cel = \" \" }\n", "\"", "routes[0].access.cel: a value is expected here"),
        (ACCESS, "access = { cel = 1 }\n", "1", "routes[0].access.cel: expected a string"),
        (ACCESS, "access = { cel = 'claims.a == 1 & true' }\n", "&", "routes[0].access.cel: a character that begins nothing"),
        (ACCESS, "access = { cel = 'true && tokens.a' }\n", "t", "routes[0].access.cel: there are claims, scopes"),
        (ACCESS, "access = { cel = '''\ntrue\n  && claims.a.matches(\"é\")''' }\n", "m", "routes[0].access.cel: regular expressions are not taken"),
        (ACCESS, "access = { cel = \"claims.a == \\\"x\\\" &\" }\n", "\"claims.a == \\\"x\\\" &\"", "routes[0].access.cel: a character that begins nothing"),
        (ACCESS, "access = { cel = 'a.b(x, c.all(y, y))' }\n", "a", "routes[0].access.cel: there are claims"),
        (ACCESS, "access = { cel = 'claims.a.all(x, claims.b.all(y, y == x))' }\n", "a", "routes[0].access.cel: no loop inside of a loop"),
    ]);
    let text = BASE.replace(ACCESS, "access = { cel = '''\ntrue\n  && claims.a.matches(\"é\")''' }\n");
    let problems = Folder::new().parse(&text).unwrap_err().to_string();
    let line = text.lines().position(|line| line.contains("matches")).unwrap() + 1;
    assert!(problems.contains(&format!("x.toml:{line}:15: error")), "{problems}");
}
