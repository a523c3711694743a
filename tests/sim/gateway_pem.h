/* tests/sim/gateway_pem.h — two certificates that sign themselves, and their keys, made once for these tests and for nothing else.
 *
 * For sim.example, from 2020 to 2120, so that no clock of a machine is too early or too late for them.
 *
 * Owner: const.   Thread: any.   Units: none.   Errors: none.   Limits: none. */
#ifndef TESTS_SIM_GATEWAY_PEM_H
#define TESTS_SIM_GATEWAY_PEM_H

static const char ECDSA_CERTIFICATE[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBdTCCARqgAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtzaW0uZXhh\n"
	"bXBsZTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE\n"
	"AwwLc2ltLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQLAka4qw3T\n"
	"E9mp3jJjTljwkrafCeIhFcZHFIGQyHLCun5iho5FpGYXRDIPmwlqmGhsazDfQJPd\n"
	"Hzbdp3u5A8DIo1cwVTAWBgNVHREEDzANggtzaW0uZXhhbXBsZTAOBgNVHQ8BAf8E\n"
	"BAMCB4AwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQU3WM6Z3JYT19FqcU2ESsg1Hoy\n"
	"VmkwCgYIKoZIzj0EAwIDSQAwRgIhAPrYxZbYuc/fv7+XO4wwQufEgP+hCCDvZGxh\n"
	"wkwMoEEMAiEAgVAE7MJ/EHqmLqnEFyCgrw8TCUw9GiZ8CDcIqPNsdHc=\n"
	"-----END CERTIFICATE-----\n";

static const char ECDSA_KEY[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRYytyIEech+Wy2+5\n"
	"dNtt578ZFXmYlKNeAlsSLmxvxNChRANCAAQLAka4qw3TE9mp3jJjTljwkrafCeIh\n"
	"FcZHFIGQyHLCun5iho5FpGYXRDIPmwlqmGhsazDfQJPdHzbdp3u5A8DI\n"
	"-----END PRIVATE KEY-----\n";

static const char RSA_CERTIFICATE[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIDADCCAeigAwIBAgIBAjANBgkqhkiG9w0BAQsFADAWMRQwEgYDVQQDDAtzaW0u\n"
	"ZXhhbXBsZTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIG\n"
	"A1UEAwwLc2ltLmV4YW1wbGUwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIB\n"
	"AQC/uSfvB6zv/eS4XwXQoI0Eb7Vr64LL2lhzH+ednbSH44mdO/frFm5Ha5sHLNrs\n"
	"TqONA42B67QJ1XbGGJrN/3k1So1DqkF7Spc682KfmS+k+LpugTlLsNZKn41Xc3LU\n"
	"2sxZ8Wn5MAi9p56TL+4IcH7k45aw3T5ARKHtcr056iuYIbuVhvL/y1aPMG59j/9V\n"
	"TGQL1j+yO4dyShe2K5bu8iElgjlEljjquf+ZYoq+o2dVYllysUI6/jScgVJMlWLy\n"
	"dJJ8t+BbIoknJXYzCG2GZoB7C1R0XflUROavNtNQwSbMLVAi4vVLaJ4WhztdV63C\n"
	"Yp4Ii01+5NsZR4dAEOjkhJYLAgMBAAGjVzBVMBYGA1UdEQQPMA2CC3NpbS5leGFt\n"
	"cGxlMA4GA1UdDwEB/wQEAwIHgDAMBgNVHRMBAf8EAjAAMB0GA1UdDgQWBBS9KzeE\n"
	"Qnz3esvBKtdFf8RPyko81TANBgkqhkiG9w0BAQsFAAOCAQEALswgO3/0clBTM2o5\n"
	"/t5mo9K7o7SGn0DtbvGNWvhyCubHOPIrzShAiPziAWoA7wHo2fetbDH7mRiRE90b\n"
	"hDZoU6pvekvFdZ/1VMIDqebyNYuycSGaKYcHMPnEtm0nURLVfA+HBZ/lI0o8MYKZ\n"
	"Ua3Up80+S+jNrZVu3N+xoumsNZX6gCVkmlIfed3gpSHY+57gmruBP5rjJrKwEQ9S\n"
	"E/lBS6Ru9Ei0BOwuakf0abHqboCoAoV0vZwvcTpCxNWQ97IRkU19I+DfEQdmLGHg\n"
	"CkrORKP3YOfbTP4P1NSo+USPedL3jvunQuUw3+bXjkcvtb5+Se+upuxEWkXa35jk\n"
	"NGfOvw==\n"
	"-----END CERTIFICATE-----\n";

static const char RSA_KEY[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQC/uSfvB6zv/eS4\n"
	"XwXQoI0Eb7Vr64LL2lhzH+ednbSH44mdO/frFm5Ha5sHLNrsTqONA42B67QJ1XbG\n"
	"GJrN/3k1So1DqkF7Spc682KfmS+k+LpugTlLsNZKn41Xc3LU2sxZ8Wn5MAi9p56T\n"
	"L+4IcH7k45aw3T5ARKHtcr056iuYIbuVhvL/y1aPMG59j/9VTGQL1j+yO4dyShe2\n"
	"K5bu8iElgjlEljjquf+ZYoq+o2dVYllysUI6/jScgVJMlWLydJJ8t+BbIoknJXYz\n"
	"CG2GZoB7C1R0XflUROavNtNQwSbMLVAi4vVLaJ4WhztdV63CYp4Ii01+5NsZR4dA\n"
	"EOjkhJYLAgMBAAECggEADlGnKIm2N3u1krTmG513asFnwgD7lSYK58OWP4YBGbUQ\n"
	"w2wwfp+qP4NLN3n4z8qqbw8OM98wDxv2RvfyIo3WC6OJxr1MhAd0zAj+xf9hjjyq\n"
	"uojEMrb+X4xoY1j9VpBmJWw2XKS4bRG7x4UTjhB41GIluwfgbQRd46dnd+Uuuanf\n"
	"fcdPibAKdcF25zJzmY0Bylpu3hak98DEs1/b8baxb0kKxmfg13wYlwHmZtpggNno\n"
	"P8npxOW9Ef9RGAr6PBneajciqTlw/dofih22wWZd24Dt7QPFr6BHJLlKjgwoLTs2\n"
	"9PQi/pbEYdCEqTNjcJ3E9ro8QjPKXErK+cEX1SuEwQKBgQDp70zZfycFmbEaHAIA\n"
	"v1MbrL/gLHGoL2M2b361JbkdyZA8fWrP4HAIR27ZBp5ZZyPvlTiOlEYWjXjn/wX5\n"
	"q5YfFba1HUxipQ1wrdAltRHvFw3O+pSpI4sr5xwbjg48M1sS4mfI/eHzABWyExDh\n"
	"nyb7XhRF0kmY3QF3oH0msEHb+QKBgQDRzpjNOqYw/upox3AAVEA9CbgYpM/HftqD\n"
	"VaOki6XGlefWc8Qrxpifx2Vt5XJdMNrX0chCLwI2npk79lEoVM+JBBufZwuFmFDs\n"
	"Q3aUJ6ydAiUOeX0FQX+0PmxYrPBgcpFx5MGb4IGzfsp1mr/BZegmF4D8SM/hOoop\n"
	"U8VT1WJbIwKBgG+2FrzGO5wxCKGvPkWdF9Lfa8Fhd+UYvAgCtj9LBFt1Jau9OISM\n"
	"aPOLKSP6RSPsXPzMBXYQ2Gdsp5Ah+HiBt+6gL9/NXey9ZO2qEvvuu+Gw4Kc2gkdC\n"
	"8fLFKmb+L04QOC2McINKuduQ7staz3Tuy26+PnAZO4wD/e9idGFFSi4BAoGAWASa\n"
	"Kg8exZNL9+UjYZ/2yySWrRAHcyQOu+ZjnpZPV75v4pHyjILmaLGYJcCKd/oU9VG2\n"
	"970M6qkik/tEFO1vm4WzqO3r8YHzAQtUZdc3HS9XKHljL59I2e8OOS1kMrIdvnA/\n"
	"oQtQnmLkwO3I4HPGLqTRogVR4KVUbP4N3Ju6hY0CgYApUnCBOzWTyLqtmr8I8WFx\n"
	"J0bJpzj4nEa8lX4g+XgjIKNckMluBe8qlmG8m+F5lJZt2FTW2LE//yoiz0V+eMhm\n"
	"qSboL77+c3y+ilF7lOa4sM6mrd5dVio4tPCqv10cFhrH/0DZDWFTZxsd0UrsFxMh\n"
	"NUwn9KB9CWRr1suoXWIi6g==\n"
	"-----END PRIVATE KEY-----\n";

#endif
