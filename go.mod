module github.com/strongroom-go/strongroom

go 1.26.0
