// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a process says that ends by abort(3): nobody else can say why. Before there are threads.

namespace mc::app {

/// An exception that nobody catches, such as a thread or memory that cannot be had, is written to
/// stderr with a remedy. SIGABRT, from any sender, waits 200 ms for the log's thread to write what
/// was logged before; after an abort() that gave no reason, a line with a remedy follows. Then the
/// process ends as it would have.
void install_last_words();

}  // namespace mc::app
