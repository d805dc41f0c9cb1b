package blobstore

// As implements driver.Bucket: there is nothing behind the store that could be asked for.
func (*Store) As(any) bool { return false }
