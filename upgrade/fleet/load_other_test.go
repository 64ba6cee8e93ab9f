//go:build !unix

package fleet_test

func fileLimit() string { return "no limit is known" }
