// What libraries leak, which no code here can free.
//
// libfuse 3.14 frees its copy of the mount point only in fuse_session_unmount(), which unmounts by path: a session that
// detached itself must not call it, since something else may be mounted there by then. Some 40 bytes a mount stay.
//
// fontconfig, which cairo asks for the fonts of a kit's page, keeps some patterns of its configuration; they are lost
// when the library is unloaded.

extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:fuse_session_mount\nleak:libfontconfig\n"; }
