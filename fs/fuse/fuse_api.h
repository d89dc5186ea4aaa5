// libfuse's low-level interface, at the one version that this code is written for. Include this, never <fuse_*.h>.
#pragma once

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
