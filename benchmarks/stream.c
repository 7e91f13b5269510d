/* Copy and triad as STREAM defines them (McCalpin 1995), to hold hwdiag's own bandwidth against:
 *     gcc -O3 -march=native -fopenmp stream.c -o stream && ./stream ELEMENTS REPEATS
 * Prints a line "copy SECONDS" and "triad SECONDS" for each repeat. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: stream ELEMENTS REPEATS\n");
        return 2;
    }
    long n = atol(argv[1]);
    int repeats = atoi(argv[2]);
    double *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *c = malloc(n * sizeof *c);
    if (!a || !b || !c) {
        fprintf(stderr, "stream: no memory for three arrays of %ld elements\n", n);
        return 1;
    }
    /* First touch by the thread that uses the page later. */
#pragma omp parallel for
    for (long i = 0; i < n; i++) {
        a[i] = 1.0;
        b[i] = 2.0;
        c[i] = 0.5;
    }
    for (int k = 0; k < repeats; k++) {
        double start = omp_get_wtime();
#pragma omp parallel for
        for (long i = 0; i < n; i++) c[i] = a[i];
        double middle = omp_get_wtime();
#pragma omp parallel for
        for (long i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i];
        printf("copy %.9f\ntriad %.9f\n", middle - start, omp_get_wtime() - middle);
    }
    return a[n / 2] == 0.0; /* the results are used, so nothing is left out */
}
