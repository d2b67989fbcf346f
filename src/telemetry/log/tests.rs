use super::*;
use crate::telemetry::testing::Memory;

#[test]
fn access_lines_are_gathered_and_everything_else_goes_out_at_once() {
    let (gathered, rest) = (Memory::default(), Memory::default());
    let (sink, writer) = (gathered.clone(), rest.clone());
    let lines = Arc::new(AccessLines::new(LogFormat::Text, move |bytes: &[u8]| {
        sink.append(|all| all.extend_from_slice(bytes));
    }));
    let rest_layer =
        tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
    let layer = AccessApart { lines: Arc::clone(&lines), rest: rest_layer.boxed() };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info!(target: access_log::TARGET, path = "/gathered", "request");
        tracing::warn!("at once");
        let span = tracing::info_span!("within", of = 1);
        span.in_scope(|| tracing::info!(target: access_log::TARGET, path = "/within", "request"));
    });
    assert_eq!(gathered.text(), "", "no buffer is full");
    drop(LogEnd(lines));
    let (gathered, rest) = (gathered.text(), rest.text());
    assert!(gathered.ends_with("  INFO scopegate::access: request path=\"/gathered\"\n"));
    assert_eq!(gathered.lines().count(), 1, "{gathered}");
    let expected =
        ["  WARN scopegate::", "  INFO within{of=1}: scopegate::access: request path=\"/within\""];
    assert_eq!(rest.lines().count(), expected.len(), "{rest}");
    for (line, expected) in rest.lines().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_filter_can_silence_access_lines_alone() {
    let (send, heard) = std::sync::mpsc::channel();
    let lines = Arc::new(AccessLines::new(LogFormat::Text, move |bytes: &[u8]| {
        let _ = send.send(bytes.to_vec());
    }));
    for (level, is_heard) in [("info", true), ("info,scopegate::access=off", false)] {
        let filter: EnvFilter = level.parse().unwrap();
        let layer = layer(LogFormat::Text, Arc::clone(&lines));
        let subscriber = tracing_subscriber::registry().with(layer).with(filter);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: access_log::TARGET, "request");
        });
        lines.flush();
        assert_eq!(heard.try_recv().is_ok(), is_heard, "{level}");
    }
}
