// SPDX-License-Identifier: Apache-2.0
// Calls about sites that several commands make.
#include "cli/site_calls.h"

namespace trapline::cli {

absl::StatusOr<v1::ListSitesResponse> ListAllSites(Session& session, const std::string& vm,
                                                   const std::string& filter) {
  v1::ListSitesResponse all;
  v1::ListSitesRequest request;
  request.set_parent(vm);
  request.set_filter(filter);
  do {
    const auto page = session.Call(session.sites(), &v1::Sites::Stub::ListSites, request);
    if (!page.ok()) return page.status();
    all.mutable_sites()->MergeFrom(page->sites());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

}  // namespace trapline::cli
