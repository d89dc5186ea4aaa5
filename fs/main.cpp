#include "fs/command/cli.h"

int main(int count, char** words) { return atl::run_command_line(count, words); }
