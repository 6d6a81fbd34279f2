"""What is CloudFront's alone: DistributionConfig and policies, header fields, what origins are asked, pages."""
