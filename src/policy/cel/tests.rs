//! Expressions: what the language says they come to, what is told at load, and what they may cost.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::tests::token;
use super::*;
use crate::oauth::{TokenKind, TokenTexts};

fn facts() -> RequestFacts<'static> {
    RequestFacts { method: "GET", path: "/tenants/blue/orders".into(), host: "api.test".into() }
}

fn claims() -> Value {
    json!({
        "level": 3, "ratio": 0.5, "big": 9_007_199_254_740_993_i64, "on": true, "none": null,
        "tenant": "blue", "groups": ["it", "ops"], "mixed": ["it", 1, null],
        "realm": { "roles": ["admin"], "deep": { "x": 1 } }, "odd name": 1, "empty": [],
    })
}

fn outcome_for(source: &str, token: &VerifiedToken) -> &'static str {
    let expression = Expression::compile(source).unwrap_or_else(|why| panic!("{source}: {why:?}"));
    match expression.outcome(token, Principal::User, &facts()) {
        Ok(()) => "true",
        Err(NotTrue::False) => "false",
        Err(NotTrue::Failed(why)) => why,
    }
}

fn outcome(source: &str) -> &'static str {
    outcome_for(source, &token("read write", &claims().to_string()))
}

const ABSENT: &str = Failure::Absent.words();
const TYPE: &str = Failure::Type.words();
const RANGE: &str = Failure::Range.words();

#[test]
#[rustfmt::skip]
fn values_and_equality_mean_what_the_language_says() {
    for (source, expected) in [
        ("true", "true"),
        ("false", "false"),
        ("!false", "true"),
        ("!!true", "true"),
        // What it sees.
        ("claims.tenant == 'blue'", "true"),
        ("claims[\"odd name\"] == 1", "true"),
        ("claims.sub == \"alice\" && claims.iss == 'https://as.test'", "true"),
        ("client_id == 'reports' && claims.client_id == client_id", "true"),
        ("principal == 'user'", "true"),
        ("'read' in scopes && !('admin' in scopes) && scopes.size() == 2", "true"),
        ("request.method == 'GET' && request.host == 'api.test'", "true"),
        ("request.path.startsWith('/tenants/' + claims.tenant + '/')", "true"),
        ("request.method in ['GET', 'HEAD'] || 'write' in scopes", "true"),
        // Claims, and what is not there.
        ("claims.realm.roles[0] == 'admin'", "true"),
        ("claims.realm['deep'].x == 1", "true"),
        ("'admin' in claims.realm.roles", "true"),
        ("'roles' in claims.realm", "true"),
        ("has(claims.realm.deep) && !has(claims.realm.shallow)", "true"),
        ("has(claims.none) && claims.none == null", "true"),
        ("has(claims.absent)", "false"),
        ("claims.absent == 1", ABSENT),
        ("claims.absent != 1", ABSENT),
        ("!(claims.absent == 1)", ABSENT),
        ("has(claims.absent.x)", ABSENT),
        ("claims.realm.absent == 1", ABSENT),
        ("claims.groups[2] == 'x'", ABSENT),
        ("claims.groups[-1] == 'x'", ABSENT),
        ("claims.tenant.x == 1", TYPE),
        ("has(claims.tenant.x)", TYPE),
        ("claims.groups['a'] == 1", TYPE),
        ("claims.level[0] == 1", TYPE),
        // Equality asks for one type, but numbers are one.
        ("claims.level == 3.0 && 3 == 3.0 && claims.ratio == 0.5", "true"),
        ("claims.level == '3'", "false"),
        ("claims.level != '3'", "true"),
        ("claims.on == 1", "false"),
        ("claims.big == 9007199254740993", "true"),
        ("claims.big == 9007199254740992.0", "false"),
        ("claims.groups == ['it', 'ops']", "true"),
        ("claims.groups == ['ops', 'it']", "false"),
        ("claims.realm == claims.realm", "true"),
        ("[1, 2] == [1.0, 2.0]", "true"),
        ("null == false", "false"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
#[rustfmt::skip]
fn operators_mean_what_the_language_says() {
    for (source, expected) in [
        // Order.
        ("claims.level >= 3 && claims.level < 3.5 && 2.5 < claims.level", "true"),
        ("claims.level > 3", "false"),
        ("'a' < 'b' && 'B' < 'a' && false < true", "true"),
        ("9007199254740993 > 9007199254740992.0", "true"),
        ("claims.tenant > 1", TYPE),
        ("claims.groups < claims.groups", TYPE),
        // Arithmetic.
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", "true"),
        ("7 / 2 == 3 && -7 % 3 == -1 && 7.0 / 2.0 == 3.5", "true"),
        ("10 - 3 - 2 == 5", "true"),
        ("claims.level - 4 == -1", "true"),
        ("9223372036854775807 + 1 > 0", RANGE),
        ("1 / 0 == 0", RANGE),
        ("1 % 0 == 0", RANGE),
        ("1 + 1.0 == 2.0", TYPE),
        ("'a' + 1 == 'a1'", TYPE),
        ("-claims.tenant == 1", TYPE),
        ("0x1F == 31 && 1e3 == 1000.0 && 1.5e-1 == 0.15", "true"),
        // What decides counts, on either side; an error counts where nothing decides.
        ("claims.absent == 1 || true", "true"),
        ("true || claims.absent == 1", "true"),
        ("claims.absent == 1 && false", "false"),
        ("false && claims.absent == 1", "false"),
        ("claims.absent == 1 || false", ABSENT),
        ("claims.absent == 1 && true", ABSENT),
        ("claims.tenant || true", "true"),
        ("claims.tenant && true", TYPE),
        ("!claims.tenant", TYPE),
        ("claims.on ? claims.level == 3 : claims.absent", "true"),
        ("claims.level ? true : true", TYPE),
        ("true ? false : true ? true : true", "false"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
#[rustfmt::skip]
fn loops_and_texts_mean_what_the_language_says() {
    for (source, expected) in [
        // Loops.
        ("claims.groups.exists(g, g == 'ops')", "true"),
        ("claims.groups.all(g, g.size() <= 3)", "true"),
        ("claims.groups.exists_one(g, g.startsWith('o'))", "true"),
        ("claims.groups.exists_one(g, g.contains('t') || g.contains('o'))", "false"),
        ("claims.empty.all(g, false)", "true"),
        ("claims.empty.exists(g, true)", "false"),
        ("claims.mixed.exists(g, g.startsWith('it'))", "true"),
        ("claims.mixed.exists(g, g.startsWith('x'))", TYPE),
        ("claims.mixed.all(g, g.startsWith('x'))", "false"),
        ("claims.mixed.exists_one(g, g.startsWith('it'))", TYPE),
        ("claims.realm.exists(g, true)", TYPE),
        ("claims.tenant.all(g, true)", TYPE),
        ("scopes.exists(s, s.endsWith('ite')) && scopes.all(s, s != 'admin')", "true"),
        ("[1, 2].exists(x, x == 1) && [3].all(x, x == 3)", "true"),
        // Texts.
        ("size('é€😀') == 3 && 'aéb'.contains('é')", "true"),
        ("'a\\n\\t\\\\\\'\\x41\\u00e9\\U0001F600' == \"a\\n\\t\\\\'Aé😀\"", "true"),
        ("r'\\d' == '\\\\d'", "true"),
        ("size(claims.groups) == 2 && size(claims.realm) == 2", "true"),
        ("size(claims.level) == 1", TYPE),
        ("claims.level.startsWith('3')", TYPE),
        // Layout.
        ("true // a comment\n  && !false", "true"),
        // What is no truth value is none.
        ("claims.level", Failure::NotBool.words()),
        ("claims.on", "true"),
        ("claims.none", Failure::NotBool.words()),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
fn of_a_token_that_only_its_token_answer_describes_no_claim_is_known() {
    let mut issued = token("read", "{}");
    issued.kind = TokenKind::Issued;
    issued.texts = TokenTexts::saying(None, Some("reports"), "read");
    for (source, expected) in [
        ("!has(claims.suspended)", ABSENT),
        ("has(claims.sub)", ABSENT),
        ("client_id == 'reports' && 'read' in scopes", "true"),
    ] {
        assert_eq!(outcome_for(source, &issued), expected, "{source}");
    }
    issued.texts = TokenTexts::saying(None, None, "read");
    assert_eq!(outcome_for("client_id != 'x'", &issued), ABSENT);
}

#[test]
#[rustfmt::skip]
fn what_is_wrong_with_an_expression_is_told_with_its_place() {
    use Mistake as M;
    for (source, at, why) in [
        ("", 0, M::Unexpected("a value")),
        ("true &&", 7, M::Unexpected("a value")),
        ("true true", 5, M::Unexpected("the end")),
        ("(true", 5, M::Unexpected(")")),
        ("[true", 5, M::Unexpected("]")),
        ("true ? false", 12, M::Unexpected(":")),
        ("claims.a.1 == 1", 9, M::Unexpected("a name")),
        ("claims.a = 1", 9, M::Character),
        ("claims.a & true", 9, M::Character),
        ("é", 0, M::Character),
        ("claims.a == 'x", 12, M::Unclosed),
        ("claims.a == 'x\n'", 12, M::Unclosed),
        ("claims.a == 'x\\", 12, M::Unclosed),
        ("claims.a == '''x'''", 12, M::TripleQuote),
        ("claims.a == '\\q'", 12, M::Escape),
        ("claims.a == '\\u12'", 12, M::Escape),
        ("claims.a == '\\ud800'", 12, M::Escape),
        ("claims.a == '\\x+1'", 12, M::Escape),
        ("claims.a == 9223372036854775808", 12, M::Number),
        ("claims.a == 1u", 12, M::Number),
        ("claims.a == 1e999", 12, M::Number),
        ("claims.a == 0x+1", 12, M::Number),
        ("claims.a == 1.2.3", 16, M::Unexpected("a name")),
        ("token.a == 1", 0, M::UnknownName),
        ("true && clams.a", 8, M::UnknownName),
        ("claims == 1", 0, M::ClaimsWhole),
        ("'a' in claims", 7, M::ClaimsWhole),
        ("size(claims) == 1", 5, M::ClaimsWhole),
        ("claims[client_id] == 1", 0, M::ClaimsWhole),
        ("claims.exists(c, true)", 0, M::ClaimsWhole),
        ("claims.aud == 'x'", 0, M::Audience),
        ("claims['scope'] == 'x'", 0, M::Scope),
        ("request == 1", 0, M::RequestMember),
        ("request.headers['x'] == 1", 0, M::RequestMember),
        ("matches(claims.a, 'x')", 0, M::Regex),
        ("claims.a.matches('x')", 9, M::Regex),
        ("claims.a.lowerAscii() == 'x'", 9, M::UnknownFunction),
        ("int(claims.a) == 1", 0, M::UnknownFunction),
        ("size() == 1", 0, M::Arguments),
        ("size(claims.a, 1) == 1", 0, M::Arguments),
        ("claims.a.startsWith()", 9, M::Arguments),
        ("claims.a.size(1) == 1", 9, M::Arguments),
        ("has(true)", 0, M::HasArgument),
        ("has(claims.a['b'])", 0, M::HasArgument),
        ("claims.a.all(x, claims.b.all(y, x == y))", 25, M::NestedLoop),
        ("claims.a.all(x, scopes.exists(y, y == x))", 23, M::NestedLoop),
        ("claims.a.all(scopes, true)", 13, M::ElementName),
        ("claims.a.all(x == 1, true)", 15, M::Unexpected(",")),
        ("claims.a.all('x', true)", 13, M::Unexpected("a name for the element")),
        ("claims.a.all(x, true) && x == 1", 25, M::UnknownName),
        ("claims.a.map(x, x) == []", 13, M::UnknownName),
        ("{'a': 1} == claims.a", 0, M::Unexpected("a value")),
        ("'x'", 0, M::NotBool),
        ("client_id", 0, M::NotBool),
        ("size(scopes)", 0, M::NotBool),
        ("1 + 1", 0, M::NotBool),
        ("true ? 1 : false", 0, M::NotBool),
    ] {
        let found = Expression::compile(source).map(|one| one.to_string());
        assert_eq!(found, Err(InvalidExpression { at, why }), "{source}");
    }
}

#[test]
fn its_length_depth_and_size_are_bounded() {
    let mistake = |source: String| Expression::compile(&source).err().map(|wrong| wrong.why);
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    assert_eq!(mistake(" ".repeat(SOURCE_MAX_BYTES - 4) + "true"), None);
    assert_eq!(mistake(" ".repeat(SOURCE_MAX_BYTES - 3) + "true"), Some(Mistake::Length));
    for (open, inner, close) in [
        ("(", "true", ")"),
        ("!", "true", ""),
        ("true ? true : ", "true", ""),
        ("![", "1", "]==[]"),
    ] {
        let few = if open == "![" { 0 } else { 8 };
        assert_eq!(mistake(nested(open, inner, close, few)).filter(|_| few > 0), None, "{open}");
        let many = nested(open, inner, close, 100);
        assert_eq!(mistake(many), Some(Mistake::Depth), "{open}");
    }
    let members = format!("claims.a{} == 1", ".b".repeat(100));
    let sums = format!("1{} == 1", "+1".repeat(100));
    assert_eq!([mistake(members), mistake(sums)], [Some(Mistake::Depth); 2]);
    let chain = |count: usize| format!("true{}", "||true".repeat(count));
    assert_eq!(mistake(chain(NODES_MAX - 2)), None, "a long chain is not deep");
    assert_eq!(mistake(chain(NODES_MAX)), Some(Mistake::Size));
    let list = format!("1 in [{}]", "1,".repeat(NODES_MAX));
    assert_eq!(mistake(list), Some(Mistake::Size));
}

#[test]
fn only_the_claims_that_it_reads_are_kept_for_it() {
    let source = "has(claims.a.b) || claims['c d'] == claims.a || claims.sub == client_id";
    let expression = Expression::compile(source).unwrap();
    assert!(expression.claim_names().eq(["a", "c d", "sub"]));
    assert_eq!(expression, Expression::compile(source).unwrap());
    assert_ne!(expression, Expression::compile("true").unwrap());
}

/// The dearest expressions that are accepted, over the largest claims that a token can carry.
#[test]
fn what_is_accepted_ends_after_a_bounded_number_of_steps() {
    let groups: Vec<String> = (0..4000).map(|number| format!("group-{number}")).collect();
    let long = "x".repeat(60_000);
    let claims = json!({ "g": groups, "h": groups, "l": long, "m": long }).to_string();
    let token = token("read", &claims);
    let compared = "g == 'x' || ".repeat(30) + "false";
    for source in [
        format!("claims.g.exists(g, {compared})"),
        format!("claims.g.all(g, {} true)", "!(g in claims.h) || ".repeat(20)),
        format!("claims.g.exists(g, {} false)", "claims.l == claims.m && false || ".repeat(20)),
        format!("({} 'x') == 'y'", "claims.l + ".repeat(28)),
        format!("claims.g.exists(g, claims.l.contains({} 'y'))", "claims.m + ".repeat(20)),
    ] {
        let outcome = outcome_for(&source, &token);
        assert_eq!(outcome, Failure::Steps.words(), "{source}");
    }
    // What people write fits, over the largest claims seen in use.
    assert_eq!(outcome_for("claims.g.exists(g, g == 'group-3999')", &token), "true");
    assert_eq!(outcome_for("claims.g == claims.h && 'group-3999' in claims.g", &token), "true");
    // No part after the last step makes a yes of it.
    let late = format!("claims.g.exists(g, {compared}) || true");
    assert_eq!(outcome_for(&late, &token), Failure::Steps.words());
}

/// Pieces that make mostly expressions, so that what compiles is evaluated too.
const PIECES: [&str; 48] = [
    "claims.",
    "claims",
    "a",
    "b",
    ".",
    "[",
    "]",
    "(",
    ")",
    " == ",
    " != ",
    " < ",
    " >= ",
    " in ",
    " && ",
    " || ",
    "!",
    "-",
    " + ",
    " * ",
    " / ",
    " % ",
    " ? ",
    " : ",
    ", ",
    "has(",
    "size(",
    ".all(x, ",
    ".exists(x, ",
    ".exists_one(x, ",
    "x",
    "scopes",
    "client_id",
    "principal",
    "request.path",
    ".startsWith(",
    ".contains(",
    "true",
    "false",
    "null",
    "1",
    "-1",
    "0",
    "1.5",
    "9223372036854775807",
    "'a'",
    "\"é\"",
    "['a', 1]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_text_makes_it_panic(pieces in prop::collection::vec(0..PIECES.len(), 0..24)) {
        let source: String = pieces.iter().filter_map(|index| PIECES.get(*index).copied()).collect();
        if let Ok(expression) = Expression::compile(&source) {
            let said = json!({ "a": ["a", 1, null, { "b": [] }], "b": { "a": -1.5, "b": "x" } });
            let token = token("read a", &said.to_string());
            let first = expression.outcome(&token, Principal::Client, &facts());
            prop_assert_eq!(first, expression.outcome(&token, Principal::Client, &facts()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(source in "\\PC{0,60}") {
        if let Err(wrong) = Expression::compile(&source) {
            prop_assert!(source.is_char_boundary(wrong.at), "{:?}", wrong);
        }
    }
}
