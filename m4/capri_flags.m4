dnl SPDX-License-Identifier: MIT
dnl Compiler and linker flags, each one tried before it is used.

dnl CAPRI_TRY_CFLAG(VARIABLE, FLAG): appends FLAG to VARIABLE if the compiler takes it.
AC_DEFUN([CAPRI_TRY_CFLAG], [
	AC_MSG_CHECKING([whether $CC takes $2])
	capri_saved=$CFLAGS
	CFLAGS="$CFLAGS -Werror $2"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
		[AC_MSG_RESULT([yes]); $1="$$1 $2"], [AC_MSG_RESULT([no])])
	CFLAGS=$capri_saved
])

dnl CAPRI_TRY_LINK(FLAG, IF-YES, IF-NO): can a program be compiled and linked with FLAG?
AC_DEFUN([CAPRI_TRY_LINK], [
	AC_MSG_CHECKING([whether programs link with $1])
	capri_saved=$CFLAGS
	capri_saved_ld=$LDFLAGS
	CFLAGS="$CFLAGS $1"
	LDFLAGS="$LDFLAGS $1"
	AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[puts("x");]])],
		[capri_links=yes], [capri_links=no])
	CFLAGS=$capri_saved
	LDFLAGS=$capri_saved_ld
	AC_MSG_RESULT([$capri_links])
	AS_IF([test "$capri_links" = yes], [$2], [$3])
])

AC_DEFUN([CAPRI_WARNINGS], [
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
			      -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2],
		[CAPRI_TRY_CFLAG([CAPRI_CFLAGS], flag)
])
	AS_IF([test "$enable_werror" = yes], [CAPRI_CFLAGS="$CAPRI_CFLAGS -Werror"])
])

AC_DEFUN([CAPRI_SANITIZERS], [
	AS_CASE([$enable_sanitizers], [yes], [enable_sanitizers=address,undefined])
	AS_IF([test "$enable_sanitizers" != no], [
		CAPRI_TRY_LINK([-fsanitize=$enable_sanitizers], [],
			[AC_MSG_ERROR([$CC cannot link with -fsanitize=$enable_sanitizers])])
		capri_san="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all"
		CAPRI_CFLAGS="$CAPRI_CFLAGS $capri_san -fno-omit-frame-pointer"
		CAPRI_LDFLAGS="$CAPRI_LDFLAGS $capri_san"
	])
])

AC_DEFUN([CAPRI_COVERAGE], [
	AS_IF([test "$enable_coverage" = yes], [
		CAPRI_TRY_LINK([--coverage], [], [AC_MSG_ERROR([$CC cannot link with --coverage])])
		CAPRI_CFLAGS="$CAPRI_CFLAGS --coverage"
		CAPRI_LDFLAGS="$CAPRI_LDFLAGS --coverage"
	])
])

dnl Position-independent, read-only after relocation, guarded stacks, checked libc calls. The last
dnl needs an optimising compiler, and hides what the sanitizers look for.
AC_DEFUN([CAPRI_HARDENING], [
	CAPRI_TRY_LINK([-fPIE -pie],
		[CAPRI_CFLAGS="$CAPRI_CFLAGS -fPIE"; CAPRI_LDFLAGS="$CAPRI_LDFLAGS -pie"])
	CAPRI_TRY_LINK([-Wl,-z,relro,-z,now],
		[CAPRI_LDFLAGS="$CAPRI_LDFLAGS -Wl,-z,relro,-z,now"])
	CAPRI_TRY_LINK([-fstack-protector-strong],
		[CAPRI_CFLAGS="$CAPRI_CFLAGS -fstack-protector-strong"])
	AS_IF([test "$enable_sanitizers" = no], [
		AS_CASE([" $CFLAGS "], [*" -O0 "*], [], [*" -O"*], [
			CAPRI_TRY_CFLAG([CAPRI_CFLAGS], [-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2])
		])
	])
])

dnl What modules see of the program: the names of include/exports.list, whether or not the program
dnl calls them itself. A linker that knows no such list shows all of its names.
AC_DEFUN([CAPRI_EXPORT_LIST], [
	AS_ECHO(["{ capri_*; };"]) >conftest.list
	CAPRI_TRY_LINK([-Wl,--dynamic-list=conftest.list],
		[CAPRI_EXPORTS='-Wl,--dynamic-list=$(top_srcdir)/include/exports.list'],
		[CAPRI_TRY_LINK([-rdynamic], [CAPRI_EXPORTS=-rdynamic],
			[AC_MSG_ERROR([$CC cannot link a program that modules can call])])])
	rm -f conftest.list
	CAPRI_TRY_LINK([-Wl,--whole-archive -Wl,--no-whole-archive], [],
		[AC_MSG_ERROR([$CC cannot link whole archives])])
	CAPRI_WHOLE_BEGIN=-Wl,--whole-archive
	CAPRI_WHOLE_END=-Wl,--no-whole-archive
	AC_SUBST([CAPRI_EXPORTS])
	AC_SUBST([CAPRI_WHOLE_BEGIN])
	AC_SUBST([CAPRI_WHOLE_END])
])
