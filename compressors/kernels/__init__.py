"""Operations with a plain `jnp` reference and, where one exists, an accelerator kernel."""
