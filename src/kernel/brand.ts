declare const brand: unique symbol;

/** A `T` that only its parser can make, so that ids and units of one kind are not mistaken for another. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
