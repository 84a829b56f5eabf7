/// The page for people: it shows `/status`, again every two seconds. Everything is in it, and all that it shows is set as
/// text.
enum StatusPage {
    static let html = """
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Millrace</title>
        <style>
        :root { color-scheme: light dark }
        body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
        h1 { font-size: 1.3em } h2 { font-size: 1.1em; margin: 2em 0 .3em }
        table { border-collapse: collapse; width: 100% }
        th, td { text-align: left; padding: .25em .9em .25em 0; border-bottom: 1px solid #8884; vertical-align: top }
        th { font-weight: 600 } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
        .good { color: #18803a } .bad { color: #c62828 } .quiet { opacity: .7 }
        div.table { overflow-x: auto }
        </style>
        <h1>Millrace <span id="version" class="quiet"></span> <span id="state"></span></h1>
        <main id="pipelines"><noscript>Without scripts, look at <a href="status">/status</a>.</noscript></main>
        <p class="quiet"><a href="status">status</a> · <a href="metrics">metrics</a> · <a href="ready">ready</a></p>
        <script>
        "use strict";
        const add = (parent, tag, text, name) => {
          const element = document.createElement(tag);
          if (text !== undefined) element.textContent = text === null ? "–" : String(text);
          if (name) element.className = name;
          parent.append(element);
          return element;
        };
        const time = (ms) => {
          if (ms === null || ms === undefined) return "–";
          const s = Math.floor(ms / 1000);
          if (ms < 1000) return ms + " ms";
          if (s < 60) return s + " s";
          if (s < 3600) return Math.floor(s / 60) + " min " + s % 60 + " s";
          if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
          return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
        };
        const size = (bytes) => {
          if (bytes === null) return "–";
          for (const unit of ["B", "KiB", "MiB"]) {
            if (bytes < 1024) return Math.round(bytes * 10) / 10 + " " + unit;
            bytes /= 1024;
          }
          return Math.round(bytes * 10) / 10 + " GiB";
        };
        const row = (table, cells, tag) => {
          const line = add(table, "tr");
          cells.forEach((cell, index) =>
            add(line, tag || "td", cell, index > 0 && index < 7 ? "number" : undefined));
        };
        const show = (status) => {
          const main = document.getElementById("pipelines");
          main.replaceChildren();
          document.getElementById("version").textContent = status.version + ", up " + time(status.uptime_ms);
          const state = document.getElementById("state");
          state.textContent = status.ready ? "ready" : "not ready";
          state.className = status.ready ? "good" : "bad";
          for (const pipeline of status.pipelines) {
            add(main, "h2", pipeline.pipeline + " (" + pipeline.state + ")");
            for (const problem of pipeline.problems) add(main, "div", problem, "bad");
            const capture = pipeline.capture, log = pipeline.log;
            add(main, "div", "capture: " + capture.mode + ", " + (capture.connected
              ? capture.phase + ", " + capture.server + ", session " + capture.session : "not connected")
              + ", zxid " + capture.zxid + ", " + capture.nodes + " nodes, " + (capture.captured || 0) + " changes");
            add(main, "div", "log: " + log.directory + (log.bytes === null ? ", not open" : ", offsets "
              + log.start_offset + " to " + log.end_offset + ", " + size(log.bytes) + " in " + log.segments + " segments"));
            const table = add(add(main, "div", undefined, "table"), "table");
            row(table, ["sink", "next offset", "lag", "time lag", "delivered", "dead letters", "rewinds",
              "checkpoint"], "th");
            for (const sink of pipeline.sinks) {
              row(table, [sink.name, sink.current_offset, sink.lag, time(sink.time_lag_ms), sink.delivered,
                sink.dead_letters, sink.rewinds, sink.checkpoint.error || sink.checkpoint.place]);
              for (const node of sink.nodes || [])
                row(table, ["on " + node.node, node.current_offset, node.lag, "", "", "", "",
                  "slots " + node.slots + ", " + time(node.age_ms) + " old"]);
            }
          }
        };
        const refresh = async () => {
          try {
            show(await (await fetch("status", { signal: AbortSignal.timeout(10000) })).json());
          } catch (error) {
            const state = document.getElementById("state");
            state.textContent = "no answer from Millrace";
            state.className = "bad";
          }
          setTimeout(refresh, 2000);
        };
        refresh();
        </script>
        </html>
        """
}
