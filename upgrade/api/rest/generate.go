package rest

//go:generate go tool -modfile=../../../tools/go.mod oapi-codegen -config oapi-codegen.yaml -o rest.gen.go ../openapi.yaml
