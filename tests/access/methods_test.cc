// SPDX-License-Identifier: Apache-2.0
// Every method of the API says who may call it.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "daemon/access/public_services.h"
#include "daemon/access/roles.h"

namespace trapline::daemon {
namespace {

TEST(Methods, HaveARoleEach) {
  int methods = 0;
  for (const auto* service : PublicServices()) {
    for (int i = 0; i < service->method_count(); ++i, ++methods) {
      const auto& method = *service->method(i);
      EXPECT_NE(RequiredRole(method), v1::ROLE_UNSPECIFIED)
          << method.full_name() << " declares no required_role, so nobody may call it";
    }
  }
  EXPECT_GE(methods, 27);
}

// Looking is a viewer's, whatever a method is called; what changes anything or reads what is a
// guest's own is not. A new method that is named like neither has to be added here by hand.
TEST(Methods, ThatOnlyLookAreAViewersAndOthersAreNot) {
  const std::map<std::string, v1::Role> exceptions = {
      {"Console", v1::ROLE_OPERATOR},       {"ReadRegisters", v1::ROLE_OPERATOR},
      {"ReadMemory", v1::ROLE_OPERATOR},    {"Disassemble", v1::ROLE_OPERATOR},
      {"DisassembleSite", v1::ROLE_VIEWER}, {"StreamHypercalls", v1::ROLE_VIEWER}};
  for (const auto* service : PublicServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      const std::string& name = method.name();
      bool looks = false;
      for (const char* verb : {"Get", "List", "Watch", "Wait"}) looks |= name.rfind(verb, 0) == 0;
      const auto exception = exceptions.find(name);
      const v1::Role expected = exception != exceptions.end() ? exception->second
                                : looks                       ? v1::ROLE_VIEWER
                                                              : v1::ROLE_OPERATOR;
      EXPECT_EQ(RoleName(RequiredRole(method)), RoleName(expected)) << method.full_name();
    }
  }
}

TEST(Roles, IncludeThoseBelow) {
  EXPECT_TRUE(Suffices(v1::ROLE_ADMIN, v1::ROLE_VIEWER));
  EXPECT_TRUE(Suffices(v1::ROLE_OPERATOR, v1::ROLE_OPERATOR));
  EXPECT_FALSE(Suffices(v1::ROLE_VIEWER, v1::ROLE_OPERATOR));
  EXPECT_FALSE(Suffices(v1::ROLE_OPERATOR, v1::ROLE_ADMIN));
}

TEST(Roles, NoneMayDoNothingAndWhatDeclaresNoneIsNobodys) {
  for (v1::Role role : {v1::ROLE_UNSPECIFIED, v1::ROLE_VIEWER, v1::ROLE_OPERATOR, v1::ROLE_ADMIN}) {
    EXPECT_FALSE(Suffices(v1::ROLE_UNSPECIFIED, role));
    EXPECT_FALSE(Suffices(role, v1::ROLE_UNSPECIFIED));
  }
  EXPECT_FALSE(Suffices(static_cast<v1::Role>(17), v1::ROLE_VIEWER));
}

}  // namespace
}  // namespace trapline::daemon
