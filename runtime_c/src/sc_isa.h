/* Which functions a core's own instructions replace: none. SPDX-License-Identifier: Apache-2.0
 *
 * A folder for an instruction set has a file of this name, which takes this one's place in bundles for it:
 * it defines SC_HAS_<FUNCTION> for every function that the folder implements, if the compiler compiles for
 * such a core. So a bundle for any core also compiles, and computes the same, on any other.
 *
 * SC_PASS is how many units a layer computes at once (docs/kernels.md). Tables are ordered for it, so a
 * folder defines it whatever the compiler compiles for; `pass_units` in its cores' TOML files says the same.
 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#endif
