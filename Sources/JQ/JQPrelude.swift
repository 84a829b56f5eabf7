/// What stands before every program: takes away what reaches outside of the input or ends the process, and what has no
/// end. That `import` and `include` are errors comes of it, too: they would have to stand before this.
enum JQPrelude {
    // One line, so that lines in jq's messages are the program's.
    static let text = """
        def halt: error("halt is not allowed"); def halt_error: halt; def halt_error($code): halt; \
        def input: error("there is no further input"); def inputs: empty; def debug: .; def stderr: .; \
        def env: {}; \
        def _indices($i): indices($i); def indices($i): if $i == "" then null else _indices($i) end; \
        def _index($i): index($i); def index($i): if $i == "" then null else _index($i) end; \
        def _rindex($i): rindex($i); def rindex($i): if $i == "" then null else _rindex($i) end; \
        {} as $ENV |
        """ + " "
}
