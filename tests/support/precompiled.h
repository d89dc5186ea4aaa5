// What nearly every unit test includes, parsed once for each build. Tests still include what they use.
#pragma once

#include <catch2/catch.hpp>
#include <rapidcheck.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>
