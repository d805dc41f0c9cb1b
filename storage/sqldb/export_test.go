package sqldb

// OriginsOf is what a connection knows of where columns come from.
func OriginsOf(driverConn any) any { return driverConn.(*conn).session.(*pgSession).origins }
