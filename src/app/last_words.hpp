// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes why a process ends by abort(3), which otherwise would be lost. Install before there are
// threads.

namespace mc::app {

/// An uncaught exception, such as for a thread or memory that cannot be had, is written to stderr
/// with a remedy. SIGABRT, from any sender, waits 200 ms for the log's thread to write the lines
/// logged before; after an abort() without a reason, a line with a remedy follows. Then the process
/// ends as it would have.
void install_last_words();

}  // namespace mc::app
