"""A trained or packed model through TVM: formats of sparse matrices, operators on them, one Relax module, a library."""
