package builtin

// numberFunctions are those of numbers. abs() of the least integer overflows, and ceil(), floor() and round() of the greatest
// numeric.
const numberFunctions = `
abs(int2) int2
abs(int4) int4
abs(int8) int8
abs(numeric) numeric total
abs(float4) float4 total
abs(float8) float8 total
round(float8) float8 total
round(numeric) numeric
round(numeric,int4) numeric
floor(float8) float8 total
floor(numeric) numeric
ceil(float8) float8 total
ceil(numeric) numeric
ceiling(float8) float8 total
ceiling(numeric) numeric
trunc(float8) float8 total
trunc(numeric) numeric total
trunc(numeric,int4) numeric
trunc(macaddr) macaddr
trunc(macaddr8) macaddr8
sign(float8) float8 total
sign(numeric) numeric total
mod(int2,int2) int2
mod(int4,int4) int4
mod(int8,int8) int8
mod(numeric,numeric) numeric
power(float8,float8) float8
power(numeric,numeric) numeric
pow(float8,float8) float8
pow(numeric,numeric) numeric
sqrt(float8) float8
sqrt(numeric) numeric
cbrt(float8) float8 total
ln(float8) float8
ln(numeric) numeric
log(float8) float8
log(numeric) numeric
log(numeric,numeric) numeric
log10(float8) float8
log10(numeric) numeric
exp(float8) float8
exp(numeric) numeric
div(...) numeric
gcd(int4,int4) int4
gcd(int8,int8) int8
gcd(numeric,numeric) numeric
lcm(int4,int4) int4
lcm(int8,int8) int8
lcm(numeric,numeric) numeric
factorial(...) numeric
width_bucket(...) int4
scale(numeric) int4 total
min_scale(numeric) int4 total
trim_scale(numeric) numeric total
pi() float8 total
degrees(float8) float8
radians(float8) float8
sin(float8) float8
cos(float8) float8
tan(float8) float8
cot(float8) float8
asin(float8) float8
acos(float8) float8
atan(float8) float8 total
atan2(float8,float8) float8 total
sind(float8) float8
cosd(float8) float8
tand(float8) float8
cotd(float8) float8
asind(float8) float8
acosd(float8) float8
atand(float8) float8
atan2d(float8,float8) float8
sinh(float8) float8
cosh(float8) float8
tanh(float8) float8 total
asinh(float8) float8
acosh(float8) float8
atanh(float8) float8
erf(float8) float8
erfc(float8) float8
random() float8 total volatile
random(int4,int4) int4
random(int8,int8) int8
random(numeric,numeric) numeric
random_normal(...) float8 volatile
`
