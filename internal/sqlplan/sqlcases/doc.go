// Package sqlcases holds the tables of a clinic at scale, the statements that ordinary applications send to it, and what
// each of them should become. Like package sqlgen it knows SQL and nothing of the planner. Tests and benchmarks use it.
package sqlcases
