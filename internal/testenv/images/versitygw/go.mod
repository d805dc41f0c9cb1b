// The S3 server that the container tests run where its public image cannot be had: see ../build. A module of its own,
// so that nothing of it enters the library's go.mod. go.sum holds what building it needs and no more; to move to
// another version, edit here and build once with -mod=mod.
module github.com/strongroom-go/strongroom/internal/testenv/images/versitygw

go 1.26.0

require github.com/versity/versitygw v1.8.0
