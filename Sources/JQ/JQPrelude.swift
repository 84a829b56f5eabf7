/// What stands before every program.
///
/// Data must not be able to end the process. What is taken away or looked at first was found by calling each of jq 1.6's
/// functions with odd arguments: times of more than 64 bits as a date (an assertion), global matches that are empty before a
/// character of several bytes (a wrong pointer), an index of an empty text (no end), an index of billions in a path (no
/// memory), Bessel functions of a high order (no end). A process of its own for jq would be a stronger wall.
enum JQPrelude {
    // One line, so that lines in jq's messages are the program's.
    static let text =
        isolation
        + guards.split(separator: "\n").map { $0.drop { $0 == " " } }.joined(separator: " ")
        + " {} as $ENV | "

    /// What reaches outside of the input or ends the process. `import` and `include` are errors, since they would have to
    /// stand before this.
    private static let isolation = """
        def halt: error("halt is not allowed"); def halt_error: halt; def halt_error($code): halt; \
        def input: error("there is no further input"); def inputs: empty; def debug: .; def stderr: .; \
        def env: {};
        """ + " "

    private static let guards = #"""
        def _bad($what): error($what + " is more than jq can take");
        def _time: if type == "number" and (. < -6e16 or . > 6e16 or . != .) then _bad("a time") elif
          type == "array" and any(.[]; type != "number" or . < -3e7 or . > 6e16 or . != .) then _bad("a
          time") else . end;
        def _gmtime: gmtime; def gmtime: _time | _gmtime;
        def _localtime: localtime; def localtime: _time | _localtime;
        def _mktime: mktime; def mktime: _time | _mktime;
        def _strftime($f): strftime($f);
        def strftime($f): if ($f | type) != "string" then error("strftime needs a text") else _time |
          (if type == "number" then _gmtime else . end) | _strftime($f) end;
        def _strflocaltime($f): strflocaltime($f);
        def strflocaltime($f): if ($f | type) != "string" then error("strflocaltime needs a text") else
          _time | (if type == "number" then _localtime else . end) | _strflocaltime($f) end;
        def todate: strftime("%Y-%m-%dT%H:%M:%SZ"); def todateiso8601: todate; def dateiso8601: todate;
          def date: todate;
        def _jn(a; b): jn(a; b); def jn(a; b): a as $n | b as $x | if ($n | type) == "number" and $n >
          -1000 and $n < 1000 then _jn($n; $x) else _bad("an order") end;
        def _yn(a; b): yn(a; b); def yn(a; b): a as $n | b as $x | if ($n | type) == "number" and $n >
          -1000 and $n < 1000 then _yn($n; $x) else _bad("an order") end;
        def _indices($i): indices($i); def indices($i): if $i == "" then null else _indices($i) end;
        def _index($i): index($i); def index($i): if $i == "" then null else _index($i) end;
        def _rindex($i): rindex($i); def rindex($i): if $i == "" then null else _rindex($i) end;
        def _path: if type == "array" and any(.[]; (type == "number" and (. > 1e6 or . < -1e6 or . !=
          .)) or (type == "object" and any(.[]; type == "number" and (. > 1e6 or . < -1e6 or . != .))))
          then _bad("an index") else . end;
        def _setpath($p; $v): setpath($p; $v); def setpath($p; $v): ($p | _path) as $q | _setpath($q;
          $v);
        def _getpath($p): getpath($p); def getpath($p): _getpath($p | _path);
        def _delpaths($p): delpaths($p); def delpaths($p): (if ($p | type) == "array" then any($p[];
          _path | false) else false end) as $x | _delpaths($p);
        def _assign(paths; $v): reduce path(paths) as $p (.; setpath($p; $v));
        def _modify(paths; update): reduce path(paths) as $p (.; first(setpath($p; _getpath($p) |
          update), delpaths([$p])));
        def _whole($re; $flags): if type == "string" and ($re | type) == "string" and ($flags | type) ==
          "string" and ($flags | contains("g")) and utf8bytelength != length and (($flags |
          contains("x")) or ($re |
          test("^(?:[^*?{|^$()\\\\\\[]|\\\\[sSdDwWtnr.]|\\[[^\\]\\\\\\[]+\\])+$") | not)) then error("a
          global match of a text that is not ASCII needs a pattern of characters and [sets] alone, since
          jq can crash by others") else . end;
        def _match(re; f): match(re; f); def match(re; f): re as $r | f as $f | _whole($r; $f) |
          _match($r; $f);
        def match($v): if ($v | type) == "array" then match($v[0]; $v[1]) else match($v; null) end;
        def _test(re; f): test(re; f); def test(re; f): re as $r | f as $f | _whole($r; $f) | _test($r;
          $f);
        def test($v): if ($v | type) == "array" then test($v[0]; $v[1]) else test($v; null) end;
        def _capture(re; f): capture(re; f); def capture(re; f): re as $r | f as $f | _whole($r; $f) |
          _capture($r; $f);
        def capture($v): if ($v | type) == "array" then capture($v[0]; $v[1]) else capture($v; null)
          end;
        def _scan($r): scan($r); def scan($r): _whole($r; "g") | _scan($r);
        def _split($r; $f): split($r; $f); def split($r; f): f as $f | _whole($r; "g\($f // "")") |
          _split($r; $f);
        def _splits($r; $f): splits($r; $f); def splits($r; f): f as $f | _whole($r; "g\($f // "")") |
          _splits($r; $f);
        def splits($r): splits($r; null);
        def _sub(re; s; f): sub(re; s; f); def sub(re; s; f): re as $r | f as $f | _whole($r; $f) |
          _sub($r; s; $f);
        def _gsub(re; s; f): gsub(re; s; f); def gsub(re; s; f): re as $r | f as $f | _whole($r; "g\($f
          // "")") | _gsub($r; s; $f);
        def gsub(re; s): gsub(re; s; "");
        """#
}
