// Log-sum-exp of separable scores over the codebook, with its gradient, on a GPU: summation.py with one token a block of
// threads. The threads share out the classes where summation.py loops over them; everything is float64.
//
//   exp(scores) ─▶ take_out_zero ─▶ grow ─▶ fold ─▶ combine ─▶ add_up, pairs ─▶ value
//                                   ungrow ◀─ unfold ◀─┘                        ─▶ marginals
//
// Compiled for one thread on a processor (HOST) it is the same program, which is how the tests run it.

#ifdef HOST
#include <cmath>
#define DEVICE static
#define SYNC()
#define FIRST 0
#define STRIDE 1
#else
#define DEVICE static __device__ __forceinline__
#define SYNC() __syncthreads()
#define FIRST ((int)threadIdx.x)
#define STRIDE ((int)blockDim.x)
#endif
#define EACH(n, count) for (int n = FIRST; n < (count); n += STRIDE)

enum { P, F, E, O };

struct Turyn {  // structure.py's tables, one behind the other
    unsigned char halves[64][2][2], octad_halves[64][2][2], partners[16][8], partner_classes[2][2][16][8];
    unsigned char twos[8][4], fours[8][4];
};

struct Shared {
    double g[24][9], slope[24][9];
    double tree[6][4][32], d_tree[6][4][32];
    double table[3][4][64], rest[3][4][65];
    double part3[64], part12[64], zero;
};

DEVICE void take_out_zero(Shared& s) {
    EACH(i, 24) {
        double inverse = 1 / s.g[i][4];
        s.g[i][0] *= inverse, s.g[i][2] *= inverse, s.g[i][6] *= inverse, s.g[i][8] *= inverse;
    }
    if (FIRST == 0) {
        s.zero = 1;
        for (int i = 0; i < 24; i++) s.zero *= s.g[i][4];
    }
}

DEVICE void grow(Shared& s) {
    EACH(h, 6) {
        for (int c = 0; c < 4; c++) s.tree[h][c][0] = 0;
        s.tree[h][P][1] = s.tree[h][E][1] = 1, s.tree[h][F][1] = s.tree[h][O][1] = 0;
    }
    for (int t = 0; t < 4; t++) {
        SYNC();
        EACH(item, 6 << t) {
            int h = item >> t, n = (1 << t) + (item & ((1 << t) - 1)), m = 2 * n;
            double(&tree)[4][32] = s.tree[h], *g = s.g[4 * h + t];
            double p = tree[P][n], f = tree[F][n], e = tree[E][n], o = tree[O][n];
            tree[P][m] = p * g[5], tree[F][m] = f * g[5] + p * g[1];
            tree[E][m] = e, tree[O][m] = o;
            tree[P][m + 1] = p * g[3], tree[F][m + 1] = f * g[3] + p * g[7];
            tree[E][m + 1] = e * g[6] + o * g[2], tree[O][m + 1] = o * g[6] + e * g[2];
        }
    }
}

DEVICE void fold(Shared& s, const Turyn& turyn) {
    EACH(item, 192) {
        int j = item / 64, k = item % 64;
        double(&low)[4][32] = s.tree[2 * j], (&high)[4][32] = s.tree[2 * j + 1];
        double p = 0, f = 0, e = 0, o = 0;
        for (int side = 0; side < 2; side++) {
            int n = turyn.halves[k][side][0], m = turyn.halves[k][side][1];
            double x = low[P][n], y = high[P][m];
            p += x * y, f += x * high[F][m] + low[F][n] * y;
            n = turyn.octad_halves[k][side][0], m = turyn.octad_halves[k][side][1];
            e += low[E][n] * high[E][m] + low[O][n] * high[O][m];
            o += low[E][n] * high[O][m] + low[O][n] * high[E][m];
        }
        s.table[j][P][k] = p, s.table[j][F][k] = f, s.table[j][E][k] = e, s.table[j][O][k] = o;
    }
}

DEVICE void combine(Shared& s, const Turyn& turyn) {
    EACH(item, 195) {
        int j = item / 65, k = item % 65, c = k & 7, row = k & 56;
        double(&x)[4][64] = s.table[(j + 1) % 3], (&y)[4][64] = s.table[(j + 2) % 3], (&rest)[4][65] = s.rest[j];
        double p = 0, f = 0, e = 0, o = 0;
        if (k < 64)
            for (int a = 0; a < 8; a++) {
                double p0 = x[P][row + a], p1 = y[P][row + (a ^ c)];
                p += p0 * p1, f += p0 * y[F][row + (a ^ c)] + x[F][row + a] * p1;
            }
        if (k == 0) e = 1;
        if (0 < k && k < 8) e = x[E][k] + y[E][k], o = x[O][k] + y[O][k];
        if (8 <= k && k < 64) {
            const unsigned char *twos = turyn.twos[k >> 3], *fours = turyn.fours[k >> 3];
            for (int n = 0; n < 4; n++) {
                if (twos[n] == c)
                    for (int a = row; a < row + 8; a++) {
                        int b = row + ((a - row) ^ c);
                        e += x[E][a] * y[E][b] + x[O][a] * y[O][b], o += x[E][a] * y[O][b] + x[O][a] * y[E][b];
                    }
                if (fours[n] == c)
                    for (int m = 0; m < 4; m++) {
                        int a = row + twos[m], b = row + (twos[m] ^ c);
                        e += x[E][a] * y[E][b] + x[O][a] * y[O][b], o += x[E][a] * y[O][b] + x[O][a] * y[E][b];
                    }
            }
        }
        rest[P][k] = p, rest[F][k] = f, rest[E][k] = e, rest[O][k] = o;
    }
}

DEVICE void pairs(Shared& s) {  // the sum over pairs is half the sum of every entry's slope times the entry
    EACH(i, 24) {
        double others = 0;
        for (int k = 0; k < 24; k++)
            if (k != i) others += s.g[k][0] + s.g[k][8];
        s.slope[i][0] = s.slope[i][8] = others;
    }
}

DEVICE void add_up(Shared& s) {
    double(&x)[4][64] = s.table[0], (&y)[4][64] = s.table[1], (&z)[4][64] = s.table[2], (&rest)[4][65] = s.rest[2];
    EACH(k, 64) {
        double sum12 = rest[E][k] * z[E][k] + rest[O][k] * z[O][k];
        if (k < 8) sum12 += k ? x[E][k] * y[E][k] + x[O][k] * y[O][k] : x[E][0] + y[E][0];
        if (k < 24) sum12 += s.slope[k][0] * (s.g[k][0] + s.g[k][8]) / 2;
        s.part3[k] = rest[P][k] * z[F][k] + rest[F][k] * z[P][k];
        s.part12[k] = sum12;
    }
    for (int half = 32; half; half /= 2) {
        SYNC();
        EACH(k, half) s.part3[k] += s.part3[k + half], s.part12[k] += s.part12[k + half];
    }
}

DEVICE void unfold(Shared& s, const Turyn& turyn) {
    EACH(item, 96) {
        int half = item / 16, n = item % 16, h = half & 1;
        double(&other)[4][32] = s.tree[half ^ 1], (&rest)[4][65] = s.rest[half >> 1], (&d_tree)[4][32] = s.d_tree[half];
        double p = 0, f = 0, e = 0, o = 0;
        for (int side = 0; side < 8; side++) {
            int m = turyn.partners[n][side], k = turyn.partner_classes[0][h][n][side];
            p += rest[F][k] * other[P][m] + rest[P][k] * other[F][m], f += rest[P][k] * other[P][m];
            k = turyn.partner_classes[1][h][n][side];
            e += rest[E][k] * other[E][m] + rest[O][k] * other[O][m];
            o += rest[E][k] * other[O][m] + rest[O][k] * other[E][m];
        }
        d_tree[P][16 + n] = p, d_tree[F][16 + n] = f, d_tree[E][16 + n] = e, d_tree[O][16 + n] = o;
    }
}

DEVICE void ungrow(Shared& s) {
    for (int t = 3; t >= 0; t--) {
        SYNC();
        EACH(item, 6 << t) {
            int h = item >> t, n = (1 << t) + (item & ((1 << t) - 1)), m = 2 * n;
            double(&d)[4][32] = s.d_tree[h], *g = s.g[4 * h + t];
            double f0 = d[F][m], f1 = d[F][m + 1], e1 = d[E][m + 1], o1 = d[O][m + 1];
            d[P][n] = d[P][m] * g[5] + f0 * g[1] + d[P][m + 1] * g[3] + f1 * g[7];
            d[F][n] = f0 * g[5] + f1 * g[3];
            d[E][n] = d[E][m] + e1 * g[6] + o1 * g[2], d[O][n] = d[O][m] + o1 * g[6] + e1 * g[2];
        }
    }
    SYNC();
    EACH(item, 144) {  // six slopes a coordinate, each summed over the nodes of its level
        int i = item / 6, h = i / 4, t = i % 4, which = item % 6;
        double(&tree)[4][32] = s.tree[h], (&d)[4][32] = s.d_tree[h];
        double sum = 0;
        for (int n = 1 << t; n < 2 << t; n++) {
            int m = 2 * n;
            switch (which) {
                case 0: sum += d[P][m] * tree[P][n] + d[F][m] * tree[F][n]; break;
                case 1: sum += d[F][m] * tree[P][n]; break;
                case 2: sum += d[P][m + 1] * tree[P][n] + d[F][m + 1] * tree[F][n]; break;
                case 3: sum += d[F][m + 1] * tree[P][n]; break;
                case 4: sum += d[E][m + 1] * tree[E][n] + d[O][m + 1] * tree[O][n]; break;
                case 5: sum += d[E][m + 1] * tree[O][n] + d[O][m + 1] * tree[E][n]; break;
            }
        }
        s.slope[i][which == 0 ? 5 : which == 1 ? 1 : which == 2 ? 3 : which == 3 ? 7 : which == 4 ? 6 : 2] = sum;
    }
}

DEVICE void write_marginals(Shared& s, float* marginals) {
    double total = s.part3[0] + s.zero * s.part12[0];
    EACH(i, 24) {
        double others = 0;
        for (int v = 0; v < 9; v++)
            if (v != 4) {
                double share = s.g[i][v] * s.slope[i][v] * (v & 1 ? 1 / total : s.zero / total);
                marginals[9 * i + v] = (float)share, others += share;
            }
        marginals[9 * i + 4] = others < 1 ? (float)(1 - others) : 0.0f;
    }
}

DEVICE void evaluate(Shared& s, const float* scores, const Turyn& turyn, double* value, float* marginals) {
    EACH(n, 216) s.g[n / 9][n % 9] = exp((double)scores[n]);
    SYNC();
    take_out_zero(s);
    SYNC();
    grow(s);
    pairs(s);
    SYNC();
    fold(s, turyn);
    SYNC();
    combine(s, turyn);
    SYNC();
    add_up(s);
    SYNC();
    if (FIRST == 0) *value = log(s.part3[0] + s.zero * s.part12[0]);
    if (!marginals) return;
    unfold(s, turyn);
    ungrow(s);
    SYNC();
    write_marginals(s, marginals);
}

#ifdef HOST
extern "C" void log_partition(const float* scores, const Turyn* turyn, double* values, float* marginals, int count) {
    static Shared shared;
    for (int n = 0; n < count; n++)
        evaluate(shared, scores + 216 * n, *turyn, values + n, marginals ? marginals + 216 * n : nullptr);
}
#else
// Grid: one block a token. values: (count,). marginals: (count, 24, 9), touched where wanted alone.
extern "C" __global__ void log_partition(
    const float* scores, const Turyn* turyn, double* values, float* marginals, int wanted) {
    __shared__ Shared shared;
    long long n = blockIdx.x;
    evaluate(shared, scores + 216 * n, *turyn, values + n, wanted ? marginals + 216 * n : nullptr);
}
#endif
