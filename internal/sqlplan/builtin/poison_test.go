package builtin

// poison are SQL expressions of values that functions and operators might stumble over, by type. DEPTH stands for the
// deepest nesting that the server's own parser of the type accepts.
var poison = map[Type][]string{
	"bool": {`true`, `false`},
	"int2": {`-32768`, `-1`, `0`, `1`, `32767`},
	"int4": {`-2147483648`, `-32769`, `-1`, `0`, `1`, `7`, `2147483647`},
	"int8": {`-9223372036854775808`, `-2147483649`, `-1`, `0`, `1`, `9007199254740993`, `9223372036854775807`},
	"numeric": {`0`, `-1`, `1`, `0.5`, `-0.5`, `'NaN'`, `'Infinity'`, `'-Infinity'`, `repeat('9',131072)::numeric+0.5`,
		`-(repeat('9',131072)::numeric+0.5)`, `repeat('9',131072)||'.'||repeat('9',16383)`, `'1e-16383'`, `'1e131071'`, `'-1e-16383'`,
		`'1e400'`, `9223372036854775808`, `'0.' || repeat('1', 16383)`, `1.000000`},
	"float4": {`0`, `'-0'`, `1`, `-1`, `'NaN'`, `'Infinity'`, `'-Infinity'`, `'3.4028235e38'`, `'-3.4028235e38'`, `'1e-45'`, `16777217`, `0.1`},
	"float8": {`0`, `'-0'`, `1`, `-1`, `'NaN'`, `'Infinity'`, `'-Infinity'`, `'1.7976931348623157e308'`, `'-1.7976931348623157e308'`,
		`'5e-324'`, `'-5e-324'`, `9223372036854775807`, `9007199254740993`, `0.1`},
	"text":    textValues,
	"varchar": textValues,
	"bpchar":  textValues,
	"citext":  textValues,
	"date": {`'infinity'`, `'-infinity'`, `'4714-11-24 BC'`, `'5874897-12-31'`, `'294277-01-01'`, `'0001-12-31 BC'`, `'1970-01-01'`,
		`'2000-02-29'`},
	"time":   {`'00:00'`, `'24:00'`, `'23:59:59.999999'`, `'12:00'`},
	"timetz": {`'00:00+15:59:59'`, `'24:00-15:59:59'`, `'23:59:59.999999+00'`, `'12:00+00'`, `'00:00-15:59:59'`, `'24:00+15:59:59'`},
	"timestamp": {`'infinity'`, `'-infinity'`, `'4714-11-24 00:00:00 BC'`, `'294276-12-31 23:59:59.999999'`, `'1970-01-01'`,
		`'0001-12-31 23:59:59.999999 BC'`, `'2000-02-29 12:00:00.5'`, `'2024-03-31 02:30:00'`},
	"timestamptz": {`'infinity'`, `'-infinity'`, `'4714-11-24 00:00:00+00 BC'`, `'294276-12-31 23:59:59.999999+00'`,
		`'1970-01-01+00'`, `'0001-12-31 23:59:59.999999+00 BC'`, `'2000-02-29 12:00:00.5+00'`, `'2024-03-31 02:30:00+01'`},
	"interval": {`'0'`, `'178000000 years'`, `'-178000000 years'`, `'1 mon -30 days'`, `'-1 mon 30 days'`, `'1 us'`,
		`make_interval(days => 2147483646)`, `make_interval(days => -2147483648)`, `'2147483646 mon 2147483646 days'`,
		`'2147483647 hours'`, `'-2147483648 hours'`, `'2147483646 mon 2147483646 days 2147483647 hours'`,
		`'9223372036854775806 us'`, `'-9223372036854775807 us'`, `'-2147483647 mon -2147483647 days -9223372036854775807 us'`},
	"uuid": {`'00000000-0000-0000-0000-000000000000'`, `'ffffffff-ffff-ffff-ffff-ffffffffffff'`, `'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'`,
		`'01890a5d-ac96-774b-bcce-b302099a8057'`},
	"bytea": {`''`, `'\x00'`, `'\xff'`, `'\xc3'`, `'\x5c'`, `'\x610062'`, `decode(repeat('ff', 1048576), 'hex')`, `decode(repeat('00', 1000), 'hex')`},
	"json": append(jsons, `'"\u0000"'`, `'"\ud800"'`, `'"\udc00\ud800"'`, `'{"a": "\u0000"}'`, `'{"\u0000": 1, "a": 1}'`,
		`'1e1000000'`, `'  [ 1 , 2 ]  '`, `repeat('[', DEPTH)||repeat(']', DEPTH)`, `repeat('{"a":', DEPTH)||'1'||repeat('}', DEPTH)`),
	"jsonb": append(jsons, `(repeat('9',131072)::numeric+0.5)::text`, `'1e131071'`, `'1e-16383'`,
		`repeat('[', DEPTH)||repeat(']', DEPTH)`, `repeat('{"a":', DEPTH)||'1'||repeat('}', DEPTH)`,
		`repeat('[1,', DEPTH)||'2'||repeat(']', DEPTH)`),
	"jsonpath": {`'$'`, `'strict $.a'`, `'$.**'`, `'$[*] ? (@ > 1)'`, `'strict $.a.b'`, `'$.a.datetime()'`, `'$.a like_regex "a"'`, `'-$'`,
		`'$x'`, `'1 / 0'`, `'$ == 1'`},
	"tsvector": {`''`, `'a'`, `'a:1A,2B b:3C c:16383D'`, `'a:1 b:2 c:3'`, `'''it''''s'':1'`, `repeat('x', 2046)`,
		`array_to_tsvector(array(SELECT 'w'||i FROM generate_series(1, 20000) i))`,
		`setweight('a:1,2,3,4,5,6,7,8,9,10,100,16383', 'A')`, `'é:1 ü:2 \\:3'`,
		`('a:' || array_to_string(array(SELECT i FROM generate_series(1, 255) i), ','))`},
	"tsquery": {`''`, `'a'`, `'!a'`, `'!!a'`, `'a & b'`, `'a | !b'`, `'a <-> b'`, `'a <16384> b'`, `'a <0> a'`, `'a:*'`, `'a:AB'`, `'a:*D'`,
		`'!a <-> b'`, `'(a | b) <-> (!c & a)'`, `'a <-> (b <-> c)'`, `'!(a <-> !b)'`, `repeat('x', 2046)`,
		`repeat('!', DEPTH)||'a'`, `repeat('(a & ', DEPTH)||'b'||repeat(')', DEPTH)`, `repeat('(!a | ', DEPTH)||'b'||repeat(')', DEPTH)`,
		`repeat('(a <-> ', DEPTH)||'b'||repeat(')', DEPTH)`, `array_to_string(array(SELECT 'w'||i FROM generate_series(1, 200) i), ' | ')`,
		`array_to_string(array(SELECT 'a:*' FROM generate_series(1, 200) i), ' <-> ')`},
	"inet": {`'0.0.0.0/0'`, `'255.255.255.255'`, `'10.1.2.3/8'`, `'::/0'`, `'::'`, `'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'`, `'::ffff:1.2.3.4/128'`,
		`'0.0.0.0'`, `'2001:db8::/32'`},
	"cidr":      {`'0.0.0.0/0'`, `'255.255.255.255'`, `'10.0.0.0/8'`, `'::/0'`, `'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'`, `'2001:db8::/32'`},
	"macaddr":   {`'00:00:00:00:00:00'`, `'ff:ff:ff:ff:ff:ff'`, `'08:00:2b:01:02:03'`},
	"macaddr8":  {`'00:00:00:00:00:00:00:00'`, `'ff:ff:ff:ff:ff:ff:ff:ff'`, `'08:00:2b:ff:fe:01:02:03'`},
	"bit":       {`'0'`, `'1'`},
	"varbit":    {`''`, `'0'`, `'1'`, `'10101010101'`, `repeat('1', 100000)`, `repeat('0', 64)`},
	"enum:mood": {`'sad'`, `'ok'`, `'happy'`},

	"int4range": {`'empty'`, `'(,)'`, `'[1,5)'`, `'[-2147483648,2147483647)'`, `'[2147483646,2147483647)'`, `'(,0)'`, `'[0,)'`,
		`'(,-2147483648)'`, `'[2147483647,)'`},
	"int8range": {`'empty'`, `'(,)'`, `'[1,5)'`, `'[-9223372036854775808,9223372036854775807)'`, `'(,0)'`, `'[0,)'`,
		`'[9223372036854775807,)'`},
	"numrange": {`'empty'`, `'(,)'`, `'[1,5)'`, `'(1,5]'`, `'[NaN,NaN]'`, `'[-Infinity,Infinity]'`, `'(,Infinity)'`, `'[1e131071,)'`,
		`'[0,' || (repeat('9',131072)::numeric+0.5)::text || ']'`},
	"daterange": {`'empty'`, `'(,)'`, `'[2020-01-01,2020-02-01)'`, `'[4714-11-24 BC,5874897-12-31)'`, `'[-infinity,infinity)'`, `'(,infinity)'`,
		`'[5874897-12-31,)'`, `'[5874897-12-30,5874897-12-31)'`},
	"tsrange": {`'empty'`, `'(,)'`, `'[2020-01-01,2020-02-01]'`, `'[4714-11-24 00:00:00 BC,294276-12-31 23:59:59.999999]'`, `'[-infinity,infinity]'`,
		`'(,infinity)'`},
	"tstzrange": {`'empty'`, `'(,)'`, `'[2020-01-01+00,2020-02-01+00]'`, `'[4714-11-24 00:00:00+00 BC,294276-12-31 23:59:59.999999+00]'`,
		`'[-infinity,infinity]'`, `'(,infinity)'`},
	"int4multirange": {`'{}'`, `'{(,)}'`, `'{[1,5),[7,9)}'`, `'{[-2147483648,2147483647)}'`, `'{(,0),[3,)}'`,
		`'{' || array_to_string(array(SELECT format('[%s,%s)', 3 * i, 3 * i + 1) FROM generate_series(1, 3000) i), ',') || '}'`},
	"int8multirange": {`'{}'`, `'{(,)}'`, `'{[1,5),[7,9)}'`, `'{[-9223372036854775808,9223372036854775807)}'`, `'{(,0),[3,)}'`},
	"nummultirange":  {`'{}'`, `'{(,)}'`, `'{[1,5),[7,9)}'`, `'{[-Infinity,Infinity]}'`, `'{[NaN,NaN]}'`, `'{(,0),[1e131071,)}'`},
	"datemultirange": {`'{}'`, `'{(,)}'`, `'{[2020-01-01,2020-02-01),[2021-01-01,)}'`, `'{[-infinity,infinity)}'`, `'{[4714-11-24 BC,5874897-12-31)}'`},
	"tsmultirange":   {`'{}'`, `'{(,)}'`, `'{[2020-01-01,2020-02-01],[2021-01-01,)}'`, `'{[-infinity,infinity]}'`},
	"tstzmultirange": {`'{}'`, `'{(,)}'`, `'{[2020-01-01+00,2020-02-01+00],[2021-01-01+00,)}'`, `'{[-infinity,infinity]}'`},
}

// poison17 are values that PostgreSQL has since version 17.
var poison17 = map[Type][]string{
	"interval": {`'infinity'`, `'-infinity'`},
}

var textValues = []string{`''`, `' '`, `'a'`, `'A'`, `'a '`, `'ß'`, `'İ'`, `'ﬁ'`, `'é'`, `'é'`, `'🙂'`, `'\'`, `'a\'`, `'%'`, `'_'`, `'{'`, `'[]'`, `'"'`,
	`'{a,b}'`, `chr(1)`, `chr(1114111)`, `chr(65535)`, `chr(65279)`, `'(('`, `'1'`, `'-5'`, `'true'`, `'\u0000'`, `'it''s'`, whitespace,
	`repeat('a', 1048576)`, `repeat('é', 20000)`, `repeat('ab%_\', 10000)`, `repeat(' ', 50000)`, `repeat('İ', 10000)`, `'secret('`}

// whitespace is a text of white space.
const whitespace = `E'\n\t \r'`

var jsons = []string{`'null'`, `'true'`, `'0'`, `'-1.5e10'`, `'""'`, `'"a"'`, `'"1"'`, `'{}'`, `'[]'`, `'[[]]'`, `'[{}]'`, `'{"a": 1}'`, `'{"a": {"a": [1, 2, null]}, "b": "x"}'`,
	`'[1, "a", null, true, {"a": 1}]'`, `'[[1, 2], [3]]'`, `'{"a": 1, "a": 2}'`, `'{"": ""}'`, `'"\u0001\u00e9\ud83d\ude42"'`, `'["a", "b"]'`,
	`'"' || repeat('x', 1048576) || '"'`, `'"' || repeat('\u0001', 100000) || '"'`, `'[' || repeat('1,', 100000) || '1]'`,
	`'{' || array_to_string(array(SELECT format('"k%s": %s', i, i) FROM generate_series(1, 10000) i), ',') || '}'`,
	`'[' || array_to_string(array(SELECT format('{"a": [%s]}', i) FROM generate_series(1, 1000) i), ',') || ']'`}

// elements are the types whose arrays are tried.
var elements = []Type{"bool", "int2", "int4", "int8", "numeric", "float4", "float8", "text", "varchar", "bpchar", "citext", "date", "time", "timetz",
	"timestamp", "timestamptz", "interval", "uuid", "bytea", "json", "jsonb", "jsonpath", "tsvector", "tsquery", "inet", "cidr", "macaddr", "macaddr8", "bit",
	"varbit", "enum:mood", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange", "int4multirange", "int8multirange", "nummultirange",
	"datemultirange", "tsmultirange", "tstzmultirange"}
